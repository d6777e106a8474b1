"""How each model's change is distributed over blocks or kinds of layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..keys.components import DIFFUSION
from .result import Analysis

__all__ = ["Profile", "home_labels", "profile"]


@dataclass(frozen=True)
class Profile:
    """Change per part of the model.

    `parts` [P]; `norm` [P, N] ‖D_i‖ within the part; `share` [P, N] its share of ‖D_i‖², 0..1, each
    column adding up to 1 (or to 0 for a zero delta); `relative` [P, N] ‖D_i‖/‖B‖ within the part.
    """

    parts: tuple[str, ...]
    norm: NDArray[np.float64]
    share: NDArray[np.float64]
    relative: NDArray[np.float64]


def profile(analysis: Analysis, labels: Sequence[str], component: str = DIFFUSION) -> Profile:
    """Sum the energies of a component's keys with the same label.

    `labels` [K] is `analysis.blocks`, `analysis.layer_types` or any other naming of the keys. Parts
    come in the order of their first key.
    """
    kept = analysis.keys_in(component)
    labels = [label for label, inside in zip(labels, kept, strict=True) if inside]
    parts = tuple(dict.fromkeys(labels))
    place = {name: i for i, name in enumerate(parts)}
    energies = np.clip(np.diagonal(analysis.gram[kept], axis1=1, axis2=2), 0.0, None)
    sums = np.zeros((len(parts), len(analysis.names) + 1), dtype=np.float64)
    np.add.at(sums, np.array([place[name] for name in labels], dtype=np.intp), energies)
    deltas, base = sums[:, 1:], sums[:, :1]
    totals = deltas.sum(axis=0, keepdims=True)
    share = np.divide(deltas, totals, out=np.zeros_like(deltas), where=totals > 0)
    relative = np.sqrt(np.divide(deltas, base, out=np.zeros_like(deltas), where=base > 0))
    return Profile(parts, np.sqrt(deltas), share, relative)


def home_labels(analysis: Analysis) -> tuple[str, ...]:
    """Per key its group of blocks and kind of layer: "single_blocks attention"."""
    families = (re.sub(r"\.\d+$", "", block) for block in analysis.blocks)
    pairs = zip(families, analysis.layer_types, strict=True)
    return tuple(family if kind == "other" else f"{family} {kind}" for family, kind in pairs)
