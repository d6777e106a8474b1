"""Lens: a narrow, deep model of two streams over four layers of a text encoder."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="lens",
    label="Lens",
    markers={
        "img_in.weight": None,
        "transformer_blocks.0.attn.img_qkv.weight": None,
        "transformer_blocks.0.img_mlp.w1.weight": None,
    },
    blocks=(r"^(transformer_blocks\.\d+)\.",),
    layer_types=TRANSFORMER,
    input_key="img_in.weight",
)
