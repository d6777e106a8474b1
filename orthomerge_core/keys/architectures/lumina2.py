"""Lumina Image 2: a NextDiT with grouped attention; the parent of Z-Image."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from ._layers import TRANSFORMER

BLOCKS = (r"(?:^|\.)((?:noise_refiner|context_refiner|layers)\.\d+)\.",)

_BLOCK = r"^((?:noise_refiner|context_refiner|layers)\.\d+)\."

_DIFFUSERS = DiffusersMap(
    marker=r"^time_caption_embed\.caption_embedder\.0\.weight$",
    renames=(
        (r"^time_caption_embed\.caption_embedder\.", "cap_embedder."),
        (r"^time_caption_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
        (r"^time_caption_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
        (r"^norm_out\.linear_1\.", "final_layer.adaLN_modulation.1."),
        (r"^norm_out\.linear_2\.", "final_layer.linear."),
        (rf"{_BLOCK}norm1\.linear\.", r"\1.adaLN_modulation.1."),
        (rf"{_BLOCK}norm1\.norm\.", r"\1.attention_norm1."),
        (rf"{_BLOCK}norm1\.", r"\1.attention_norm1."),
        (rf"{_BLOCK}norm2\.", r"\1.attention_norm2."),
        (rf"{_BLOCK}attn\.to_out\.0\.", r"\1.attention.out."),
        (rf"{_BLOCK}attn\.norm_([qk])\.", r"\1.attention.\2_norm."),
        (rf"{_BLOCK}feed_forward\.linear_([123])\.", r"\1.feed_forward.w\2."),
    ),
    joins={
        r"\1.attention.qkv.\2": [rf"{_BLOCK}attn\.to_{x}\.(weight|bias)$" for x in "qkv"],
    },
    note="diffusers drops norm_final, which the model does not use; the base's is kept",
)

ARCHITECTURE = Architecture(
    name="lumina2",
    label="Lumina 2",
    modelspec="lumina-2",
    markers={
        "cap_embedder.1.weight": None,
        "layers.0.attention.qkv.weight": None,
        "layers.0.adaLN_modulation.1.weight": None,
    },
    absent=(
        "ref_image_patch_embedder.weight",  # OmniGen2 begins with the same names
        "clip_text_pooled_proj.0.weight",  # NewBie
    ),
    blocks=BLOCKS,
    layer_types=TRANSFORMER,
    diffusers=_DIFFUSERS,
    input_key="x_embedder.weight",
)
