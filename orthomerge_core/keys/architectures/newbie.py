"""NewBie: Lumina 2 with the pooled text of a CLIP beside it."""

from __future__ import annotations

from dataclasses import replace

from .lumina2 import ARCHITECTURE as LUMINA2

ARCHITECTURE = replace(
    LUMINA2,
    name="newbie",
    label="NewBie",
    modelspec="",
    markers={**LUMINA2.markers, "clip_text_pooled_proj.0.weight": None},
    absent=("ref_image_patch_embedder.weight",),
    layer_types=(
        (r"^clip_text_pooled_proj\.0\.", "norm"),
        (r"^(?:clip_text_pooled_proj|time_text_embed)\.", "embedding"),
        *LUMINA2.layer_types,
    ),
    diffusers=None,
)
