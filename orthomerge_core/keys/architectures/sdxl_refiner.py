"""The SDXL refiner: a U-Net of four levels, without attention in the first."""

from __future__ import annotations

from ..architecture import Architecture
from . import _components, _unet

ARCHITECTURE = Architecture(
    name="sdxl_refiner",
    label="SDXL refiner",
    modelspec="stable-diffusion-xl-v1-refiner",
    markers={
        "input_blocks.0.0.weight": None,
        "label_emb.0.0.weight": None,
        "input_blocks.11.0.in_layers.0.weight": None,
        "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": None,
    },
    absent=("input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",),
    blocks=_unet.BLOCKS,
    layer_types=_unet.LAYERS,
    input_key="input_blocks.0.0.weight",
    extra_channels_last=True,
    variants=_unet.VARIANTS,
    components=_components.SDXL_REFINER,
    axes=_unet.AXES_LINEAR,
)
