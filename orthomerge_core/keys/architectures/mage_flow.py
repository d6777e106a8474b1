"""Mage-Flow: Qwen-Image's blocks over 2560 text features and a latent of 128 channels."""

from __future__ import annotations

from dataclasses import replace

from .qwen_image import ARCHITECTURE as QWEN

ARCHITECTURE = replace(
    QWEN,
    name="mage_flow",
    label="Mage-Flow",
    modelspec="",
    markers={**QWEN.markers, "txt_norm.weight": (2560,), "proj_out.weight": (128, None)},
    priority=1,
)
