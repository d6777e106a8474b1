"""Stable Diffusion 1.x: a U-Net of four levels with a 768-wide text context."""

from __future__ import annotations

from ..architecture import Architecture
from . import _components, _unet

ARCHITECTURE = Architecture(
    name="sd15",
    label="Stable Diffusion 1.5",
    modelspec="stable-diffusion-v1",
    modelspec_variants=(
        ("stable-diffusion-v1/inpaint", "input_blocks.0.0.weight", (None, 9, None, None)),
    ),
    markers={
        "input_blocks.0.0.weight": None,
        "input_blocks.11.0.in_layers.0.weight": None,
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": None,
    },
    absent=("label_emb.0.0.weight",),
    blocks=_unet.BLOCKS,
    layer_types=_unet.LAYERS,
    diffusers=_unet.diffusers(levels=4, up_attention=(1, 2, 3)),
    input_key="input_blocks.0.0.weight",
    extra_channels_last=True,
    variants=_unet.VARIANTS,
    components=_components.SD1,
    axes=_unet.AXES_CONVOLVED,
)
