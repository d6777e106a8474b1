"""Cosmos-Predict2 (2B and 14B): text-to-image, and image-to-video with one input channel more."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from ._layers import TRANSFORMER

_AT = r"^transformer_blocks\.(\d+)\."
_TO = r"blocks.\1."

LAYERS = (
    (r"^(?:x_embedder|t_embedder|extra_pos_embedder|pos_embedder)\.", "embedding"),
    (r"^final_layer\.linear\.", "projection"),
    *TRANSFORMER,
)

DIFFUSERS = DiffusersMap(
    marker=r"^time_embed\.t_embedder\.linear_1\.weight$",
    renames=(
        (r"^patch_embed\.proj\.", "x_embedder.proj.1."),
        (r"^time_embed\.t_embedder\.", "t_embedder.1."),
        (r"^time_embed\.norm\.", "t_embedding_norm."),
        (r"^learnable_pos_embed\.pos_emb_([thw])$", r"extra_pos_embedder.pos_emb_\1"),
        (r"^norm_out\.linear_([12])\.", r"final_layer.adaln_modulation.\1."),
        (r"^proj_out\.", "final_layer.linear."),
        (rf"{_AT}norm1\.linear_([12])\.", rf"{_TO}adaln_modulation_self_attn.\2."),
        (rf"{_AT}norm2\.linear_([12])\.", rf"{_TO}adaln_modulation_cross_attn.\2."),
        (rf"{_AT}norm3\.linear_([12])\.", rf"{_TO}adaln_modulation_mlp.\2."),
        (rf"{_AT}attn1\.to_([qkv])\.", rf"{_TO}self_attn.\2_proj."),
        (rf"{_AT}attn1\.to_out\.0\.", rf"{_TO}self_attn.output_proj."),
        (rf"{_AT}attn1\.norm_([qk])\.", rf"{_TO}self_attn.\2_norm."),
        (rf"{_AT}attn2\.to_([qkv])\.", rf"{_TO}cross_attn.\2_proj."),
        (rf"{_AT}attn2\.to_out\.0\.", rf"{_TO}cross_attn.output_proj."),
        (rf"{_AT}attn2\.norm_([qk])\.", rf"{_TO}cross_attn.\2_norm."),
        (rf"{_AT}ff\.net\.0\.proj\.", rf"{_TO}mlp.layer1."),
        (rf"{_AT}ff\.net\.2\.", rf"{_TO}mlp.layer2."),
    ),
)

ARCHITECTURE = Architecture(
    name="cosmos_predict2",
    label="Cosmos-Predict2",
    modelspec="nvidia-cosmos-predict2-t2i-2b",
    modelspec_variants=(
        ("nvidia-cosmos-predict2-t2i-14b", "x_embedder.proj.1.weight", (5120, None)),
    ),
    markers={
        "blocks.0.mlp.layer1.weight": None,
        "blocks.0.adaln_modulation_self_attn.1.weight": None,
        "x_embedder.proj.1.weight": None,
    },
    absent=("llm_adapter.blocks.0.cross_attn.q_proj.weight",),
    blocks=(r"^(blocks\.\d+)\.",),
    layer_types=LAYERS,
    diffusers=DIFFUSERS,
    input_key="x_embedder.proj.1.weight",
    variants={72: "image-to-video variant"},
)
