"""HunyuanVideo 1.5: double blocks alone, with the picture and the glyphs as further conditions."""

from __future__ import annotations

from dataclasses import replace

from .hunyuan_video import ARCHITECTURE as VIDEO

ARCHITECTURE = replace(
    VIDEO,
    name="hunyuan_video_15",
    label="HunyuanVideo 1.5",
    modelspec="hunyuan-video-1_5",
    markers={**VIDEO.markers, "cond_type_embedding.weight": None},
    absent=("cond_type_embed.weight",),
    layer_types=(
        (r"^vision_in\.proj\.[04]\.", "norm"),
        (r"^(?:vision_in|cond_type_embedding)\.", "embedding"),
        *VIDEO.layer_types,
    ),
    axes=((r"^img_in\.proj\.weight$", (None, None, 1, 1, 1)),),
    variants={98: "super-resolution variant"},
    diffusers=None,
)
