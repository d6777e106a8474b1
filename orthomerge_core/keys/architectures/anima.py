"""Anima: Cosmos-Predict2 with an adapter from a language model's text features; 28 or 40 blocks."""

from __future__ import annotations

from dataclasses import replace

from .cosmos_predict2 import ARCHITECTURE as PREDICT2
from .cosmos_predict2 import LAYERS

ARCHITECTURE = replace(
    PREDICT2,
    name="anima",
    label="Anima",
    modelspec="",
    modelspec_variants=(),
    markers={**PREDICT2.markers, "llm_adapter.blocks.0.cross_attn.q_proj.weight": None},
    absent=(),
    blocks=(r"^(llm_adapter\.blocks\.\d+)\.", *PREDICT2.blocks),
    layer_types=((r"^llm_adapter\.embed\.", "embedding"), *LAYERS),
    variants={},
)
