"""Mochi 1: asymmetric blocks, wide for the video and narrow for the text."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="mochi",
    label="Mochi",
    modelspec="genmo-mochi-1",
    markers={
        "t5_yproj.weight": None,
        "blocks.0.attn.qkv_x.weight": None,
        "x_embedder.proj.weight": None,
    },
    blocks=(r"^(blocks\.\d+)\.",),
    layer_types=(
        (r"(?:^|\.)mod(?:_[xy])?\.", "modulation"),
        (r"^t5_y(?:proj|_embedder)\.", "embedding"),
        *TRANSFORMER,
    ),
    input_key="x_embedder.proj.weight",
)
