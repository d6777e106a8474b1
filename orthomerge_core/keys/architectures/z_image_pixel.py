"""Z-Image in pixel space: a small decoder per patch in place of the last layer."""

from __future__ import annotations

from dataclasses import replace

from .z_image import ARCHITECTURE as Z_IMAGE

ARCHITECTURE = replace(
    Z_IMAGE,
    name="z_image_pixel",
    label="Z-Image (pixel space)",
    markers={**Z_IMAGE.markers, "dec_net.cond_embed.weight": None},
    absent=(),
    blocks=(r"^(dec_net\.res_blocks\.\d+)\.", *Z_IMAGE.blocks),
    layer_types=(
        (r"^dec_net\.(?:cond_embed|input_embedder)\.", "embedding"),
        (r"\.in_ln\.", "norm"),
        *Z_IMAGE.layer_types,
    ),
    diffusers=None,
)
