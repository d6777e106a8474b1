"""Improvement: how much smaller a delta is from another parent. Range (−∞, 1]; 0.72 is 72 %."""

from __future__ import annotations

__all__ = ["improvement"]


def improvement(distance_to_parent: float, distance_to_base: float) -> float:
    """1 − ‖M−P‖ / ‖M−B‖; 0 where the model equals the base."""
    if distance_to_base <= 0.0:
        return 0.0
    return 1.0 - distance_to_parent / distance_to_base
