"""HunyuanVideo: Flux-like blocks over a text refiner, in ComfyUI's or the publisher's names."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from . import _flux

BLOCKS = (*_flux.BLOCKS, r"(?:^|\.)(txt_in\.individual_token_refiner\.blocks\.\d+)\.")

LAYERS = (
    (r"individual_token_refiner\..*adaLN", "modulation"),
    (r"individual_token_refiner\..*norm", "norm"),
    (r"individual_token_refiner\..*attn", "attention"),
    (r"individual_token_refiner\..*mlp", "mlp"),
    (r"_mod\.linear\.", "modulation"),
    *_flux.LAYERS,
)

ALIASES = (
    (r"^(txt_in\.t_embedder)\.mlp\.0\.", r"\1.in_layer."),
    (r"^(txt_in\.t_embedder)\.mlp\.2\.", r"\1.out_layer."),
    (r"^(txt_in\.c_embedder)\.linear_1\.", r"\1.in_layer."),
    (r"^(txt_in\.c_embedder)\.linear_2\.", r"\1.out_layer."),
    (r"_mod\.linear\.", "_mod.lin."),
    (r"\.modulation\.linear\.", ".modulation.lin."),
    (r"_attn_(qkv|proj)\.", r"_attn.\1."),
    (r"_attn_q_norm\.weight$", "_attn.norm.query_norm.scale"),
    (r"_attn_k_norm\.weight$", "_attn.norm.key_norm.scale"),
    (r"\.q_norm\.weight$", ".norm.query_norm.scale"),
    (r"\.k_norm\.weight$", ".norm.key_norm.scale"),
    (r"mlp\.fc1\.", "mlp.0."),
    (r"mlp\.fc2\.", "mlp.2."),
    (r"_in\.mlp\.0\.", "_in.in_layer."),
    (r"_in\.mlp\.2\.", "_in.out_layer."),
)

_TEXT = r"^context_embedder\."
_REFINER = rf"{_TEXT}token_refiner\.refiner_blocks\.(\d+)\."
_REFINED = r"txt_in.individual_token_refiner.blocks.\1"

_DIFFUSERS = DiffusersMap(
    marker=rf"{_REFINER}norm1\.weight$",
    renames=(
        (rf"{_REFINER}norm_out\.linear\.", f"{_REFINED}.adaLN_modulation.1."),
        (rf"{_REFINER}attn\.to_out\.0\.", f"{_REFINED}.self_attn.proj."),
        (rf"{_REFINER}ff\.net\.0\.proj\.", f"{_REFINED}.mlp.0."),
        (rf"{_REFINER}ff\.net\.2\.", f"{_REFINED}.mlp.2."),
        (_REFINER, f"{_REFINED}."),
        (rf"{_TEXT}proj_in\.", "txt_in.input_embedder."),
        (rf"{_TEXT}time_text_embed\.timestep_embedder\.linear_1\.", "txt_in.t_embedder.in_layer."),
        (rf"{_TEXT}time_text_embed\.timestep_embedder\.linear_2\.", "txt_in.t_embedder.out_layer."),
        (rf"{_TEXT}time_text_embed\.text_embedder\.linear_1\.", "txt_in.c_embedder.in_layer."),
        (rf"{_TEXT}time_text_embed\.text_embedder\.linear_2\.", "txt_in.c_embedder.out_layer."),
        *_flux.EMBEDDERS,
        *_flux.OUTER,
    ),
    inner=(*_flux.MODULATIONS, *_flux.INNER),
    joins={
        **_flux.DOUBLE_JOINS,
        **_flux.SINGLE_JOINS,
        rf"{_REFINED}.self_attn.qkv.\2": [
            rf"{_REFINER}attn\.to_{x}\.(weight|bias)$" for x in "qkv"
        ],
    },
    swaps=_flux.SWAPS,
)

ARCHITECTURE = Architecture(
    name="hunyuan_video",
    label="HunyuanVideo",
    modelspec="hunyuan-video",
    markers={
        "txt_in.individual_token_refiner.blocks.0.norm1.weight": None,
        "img_in.proj.weight": (None, None, None, None, None),
    },
    # diffusers' other models of this family, whose names are not translated
    absent=(
        "cond_type_embed.weight",
        "time_guidance_embed.timestep_embedder.linear_1.weight",
        "cond_type_embedding.weight",
    ),
    blocks=BLOCKS,
    layer_types=LAYERS,
    aliases=ALIASES,
    diffusers=_DIFFUSERS,
    axes=((r"^img_in\.proj\.weight$", (None, None, 1, None, None)),),
    input_key="img_in.proj.weight",
    extra_channels_last=True,
    variants={32: "image-to-video variant", 33: "image-to-video variant"},
)
