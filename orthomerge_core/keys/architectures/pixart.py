"""PixArt-alpha and PixArt-sigma: cross-attention blocks with one shared modulation."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from ._layers import TRANSFORMER

_AT = r"^transformer_blocks\.(\d+)\."
_TO = r"blocks.\1."
_END = r"\.(weight|bias)$"

ARCHITECTURE = Architecture(
    name="pixart",
    label="PixArt",
    modelspec="pixart-ms-sigma-xl-2",
    markers={
        "t_block.1.weight": None,
        "blocks.0.cross_attn.kv_linear.weight": None,
        "x_embedder.proj.weight": None,
    },
    blocks=(r"^(blocks\.\d+)\.",),
    layer_types=((r"^t_block\.|scale_shift_table$", "modulation"), *TRANSFORMER),
    diffusers=DiffusersMap(
        marker=r"^adaln_single\.emb\.timestep_embedder\.linear_1\.weight$",
        renames=(
            (r"^pos_embed\.proj\.", "x_embedder.proj."),
            (r"^pos_embed\.pos_embed$", "pos_embed"),
            (r"^adaln_single\.emb\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
            (r"^adaln_single\.emb\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
            (r"^adaln_single\.emb\.resolution_embedder\.linear_1\.", "csize_embedder.mlp.0."),
            (r"^adaln_single\.emb\.resolution_embedder\.linear_2\.", "csize_embedder.mlp.2."),
            (r"^adaln_single\.emb\.aspect_ratio_embedder\.linear_1\.", "ar_embedder.mlp.0."),
            (r"^adaln_single\.emb\.aspect_ratio_embedder\.linear_2\.", "ar_embedder.mlp.2."),
            (r"^adaln_single\.linear\.", "t_block.1."),
            (r"^caption_projection\.y_embedding$", "y_embedder.y_embedding"),
            (r"^caption_projection\.linear_([12])\.", r"y_embedder.y_proj.fc\1."),
            (r"^scale_shift_table$", "final_layer.scale_shift_table"),
            (r"^proj_out\.", "final_layer.linear."),
            (rf"{_AT}scale_shift_table$", rf"{_TO}scale_shift_table"),
            (rf"{_AT}attn1\.to_out\.0\.", rf"{_TO}attn.proj."),
            (rf"{_AT}attn1\.([qk])_norm\.", rf"{_TO}attn.\2_norm."),
            (rf"{_AT}attn2\.to_q\.", rf"{_TO}cross_attn.q_linear."),
            (rf"{_AT}attn2\.to_out\.0\.", rf"{_TO}cross_attn.proj."),
            (rf"{_AT}ff\.net\.0\.proj\.", rf"{_TO}mlp.fc1."),
            (rf"{_AT}ff\.net\.2\.", rf"{_TO}mlp.fc2."),
        ),
        joins={
            rf"{_TO}attn.qkv.\2": [rf"{_AT}attn1\.to_{x}{_END}" for x in "qkv"],
            rf"{_TO}cross_attn.kv_linear.\2": [rf"{_AT}attn2\.to_{x}{_END}" for x in "kv"],
        },
    ),
    input_key="x_embedder.proj.weight",
)
