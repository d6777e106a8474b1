"""Stable Diffusion 2.x: the U-Net of 1.x with a 1024-wide text context."""

from __future__ import annotations

from dataclasses import replace

from . import _components, _unet
from .sd15 import ARCHITECTURE as SD15

ARCHITECTURE = replace(
    SD15,
    name="sd2",
    label="Stable Diffusion 2",
    modelspec="stable-diffusion-v2-768-v",
    modelspec_variants=(),
    markers={
        **SD15.markers,
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (None, 1024),
    },
    priority=1,
    components=_components.SD2,
    axes=_unet.AXES_LINEAR,
)
