"""Selects, reorders or renames the models of an analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..recipe.model import BASE
from .result import Analysis, Spectrum

__all__ = ["select"]


def select(analysis: Analysis, models: Sequence[int]) -> Analysis:
    """The analysis of those models (positions in `names`), in that order; no file is read."""
    pick = np.asarray(models, dtype=np.int64)
    rows = np.concatenate([[0], pick + 1])
    names = tuple(analysis.names[i] for i in pick)
    kept = (BASE, *names)
    return replace(
        analysis,
        names=names,
        files=tuple(analysis.files[i] for i in pick),
        gram=analysis.gram[:, rows][:, :, rows],
        active=analysis.active[:, pick][:, :, pick],
        conflict=analysis.conflict[:, pick][:, :, pick],
        max_abs=analysis.max_abs[:, pick],
        nonfinite=analysis.nonfinite[:, rows],
        present=analysis.present[:, pick],
        spectra=tuple(Spectrum(s.key, s.energies[pick]) for s in analysis.spectra),
        content_hashes={k: h for k, h in analysis.content_hashes.items() if k in kept},
        rounding=analysis.rounding.select(models) if analysis.rounding else None,
        reports=tuple(r for r in analysis.reports if r.get("name") in names),
    )
