"""Krea 2 (Raw and Turbo): single-stream blocks over text that fuses twelve encoder layers."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="krea2",
    label="Krea 2",
    markers={
        "txtfusion.projector.weight": None,
        "first.weight": None,
        "blocks.0.attn.wq.weight": None,
    },
    blocks=(
        r"^(txtfusion\.(?:layerwise|refiner)_blocks\.\d+)\.",
        r"^(blocks\.\d+)\.",
    ),
    layer_types=(
        (r"(?:^|\.)mod(?:ulation)?\.lin$|^tproj\.", "modulation"),
        (r"norm\.scale$|^txtmlp\.0\.", "norm"),
        (r"^(?:first|tmlp|txtmlp)\.", "embedding"),
        (r"^last\.linear\.|^txtfusion\.projector\.", "projection"),
        *TRANSFORMER,
    ),
    axes=((r"^txtfusion\.projector\.weight$", (1, None)),),
    input_key="first.weight",
)
