"""Kandinsky 5 (Lite, Pro and Image): text blocks and visual blocks with cross-attention."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="kandinsky5",
    label="Kandinsky 5",
    markers={
        "visual_transformer_blocks.0.cross_attention.key_norm.weight": None,
        "visual_embeddings.in_layer.weight": None,
    },
    blocks=(r"^((?:text|visual)_transformer_blocks\.\d+)\.",),
    layer_types=(
        (r"modulation\.", "modulation"),
        (r"^\w+_embeddings\.norm\.", "norm"),
        (r"^\w+_embeddings\.", "embedding"),
        (r"^out_layer\.out_layer\.", "projection"),
        *TRANSFORMER,
    ),
    input_key="visual_embeddings.in_layer.weight",
)
