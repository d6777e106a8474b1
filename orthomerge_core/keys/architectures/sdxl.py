"""Stable Diffusion XL: a U-Net of three levels with attention from the second on."""

from __future__ import annotations

from ..architecture import Architecture
from . import _components, _unet

ARCHITECTURE = Architecture(
    name="sdxl",
    label="SDXL",
    modelspec="stable-diffusion-xl-v1-base",
    markers={
        "input_blocks.0.0.weight": None,
        "label_emb.0.0.weight": None,
        "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": None,
    },
    absent=("input_blocks.9.0.op.weight", "input_blocks.9.0.in_layers.0.weight"),
    blocks=_unet.BLOCKS,
    layer_types=_unet.LAYERS,
    diffusers=_unet.diffusers(levels=3, up_attention=(0, 1)),
    input_key="input_blocks.0.0.weight",
    extra_channels_last=True,
    variants=_unet.VARIANTS,
    components=_components.SDXL,
    marks_prediction=True,
    axes=_unet.AXES_LINEAR,
)
