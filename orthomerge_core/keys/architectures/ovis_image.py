"""Ovis-Image: Flux-like blocks with gated MLPs and normalized text, without pooled text."""

from __future__ import annotations

from ..architecture import Architecture
from .flux1 import ARCHITECTURE as FLUX1

ARCHITECTURE = Architecture(
    name="ovis_image",
    label="Ovis-Image",
    markers={
        "img_in.weight": None,
        "double_blocks.0.img_attn.qkv.weight": None,
        "double_blocks.0.img_mlp.gate_proj.weight": None,
        "double_blocks.0.txt_mlp.gate_proj.weight": None,
    },
    absent=("distilled_guidance_layer.in_proj.weight",),
    blocks=FLUX1.blocks,
    layer_types=((r"_mlp\.", "mlp"), *FLUX1.layer_types),
    input_key="img_in.weight",
)
