"""Z-Image Omni: Z-Image that also reads picture features through its own refiner."""

from __future__ import annotations

from dataclasses import replace

from .z_image import ARCHITECTURE as Z_IMAGE

ARCHITECTURE = replace(
    Z_IMAGE,
    name="z_image_omni",
    label="Z-Image Omni",
    markers={**Z_IMAGE.markers, "siglip_embedder.0.weight": None},
    absent=("dec_net.cond_embed.weight",),
    blocks=(r"(?:^|\.)(siglip_refiner\.\d+)\.", *Z_IMAGE.blocks),
)
