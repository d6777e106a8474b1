"""HunyuanImage 2.1: HunyuanVideo's layout over a flat latent."""

from __future__ import annotations

from dataclasses import replace

from .hunyuan_video import ARCHITECTURE as VIDEO

ARCHITECTURE = replace(
    VIDEO,
    name="hunyuan_image",
    label="HunyuanImage",
    modelspec="hunyuan-image-2_1",
    markers={**VIDEO.markers, "img_in.proj.weight": (None, None, None, None)},
    axes=((r"^img_in\.proj\.weight$", (None, None, 1, 1)),),
    variants={},
    diffusers=None,
)
