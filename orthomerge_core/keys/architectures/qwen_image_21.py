"""Qwen-Image 2.1: one stream, one modulation for all blocks; the MLP fused or in two."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from ._layers import TRANSFORMER

_MLP = r"^transformer_blocks\.(\d+)\.img_mlp\."

ARCHITECTURE = Architecture(
    name="qwen_image_21",
    label="Qwen-Image 2.1",
    markers={
        "txt_in.text_norm.weight": None,
        "img_in.weight": None,
        "modulation.1.weight": None,
    },
    absent=("transformer_blocks.0.img_mlp.gate_layer.weight",),
    blocks=(r"^(transformer_blocks\.\d+)\.",),
    layer_types=TRANSFORMER,
    diffusers=DiffusersMap(
        marker=rf"{_MLP}gate_layer\.weight$",
        joins={
            r"transformer_blocks.\1.img_mlp.gate_up.\2": [
                rf"{_MLP}gate_layer\.(weight|bias)$",
                rf"{_MLP}proj\.(weight|bias)$",
            ],
        },
    ),
    input_key="img_in.weight",
)
