"""Qwen-Image and Qwen-Image-Edit: 60 two-stream blocks, in diffusers names from the start."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="qwen_image",
    label="Qwen-Image",
    modelspec="qwen-image",
    markers={
        "txt_norm.weight": None,
        "img_in.weight": None,
        "transformer_blocks.0.img_mod.1.weight": None,
    },
    blocks=(r"(?:^|\.)(transformer_blocks\.\d+)\.",),
    layer_types=TRANSFORMER,
    input_key="img_in.weight",
)
