"""Figures per model and per pair, derived from an analysis without reading a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics.conflict_ratio import conflict_ratio
from .metrics.cosine import cosine
from .metrics.effective_rank import effective_rank
from .metrics.new_information import new_information
from .metrics.quality import grade, quality
from .metrics.snr import snr
from .metrics.survival import survival
from .result import Analysis

__all__ = ["Derived", "derive"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Derived:
    """Figures of base-relative deltas; model order is that of `names`.

    [N]: `delta_norm` ‖D_i‖, `relative_norm` ‖D_i‖/‖B‖, `effective_rank`, `snr`, `survival` in
    percent, `outlier` max |D_i|, `outlier_ratio` max |D_i| / rms of D_i's non-zero elements,
    `quality`, `grade`, `coverage_frac` elements present / all elements, `nonfinite` elements.
    [N, N]: `cosine`, `new_information`, `conflict_ratio`. Where there is no spectrum,
    `effective_rank`, `snr` and `quality` are NaN and the grade is "n/a".
    """

    names: tuple[str, ...]
    base_norm: float
    delta_norm: Floats
    relative_norm: Floats
    cosine: Floats
    new_information: Floats
    conflict_ratio: Floats
    effective_rank: Floats
    snr: Floats
    survival: Floats
    outlier: Floats
    outlier_ratio: Floats
    quality: Floats
    grade: tuple[str, ...]
    coverage_frac: Floats
    base_nonfinite: int
    nonfinite: NDArray[np.int64]


def derive(analysis: Analysis, mask: NDArray[np.bool_] | None = None) -> Derived:
    """The figures of an analysis over the keys of `mask` [K]; without one, those of its diffusion
    model. `Analysis.keys_in` makes the mask of another component."""
    keep = analysis.keys_in() if mask is None else mask
    gram = analysis.gram[keep].sum(axis=0)
    norms = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    active = analysis.active[keep].sum(axis=0)
    cosines = cosine(gram[1:, 1:])
    lasting = survival(cosines)
    outlier = analysis.max_abs[keep].max(axis=0, initial=0.0)
    ranks, ratios = _spectral(analysis, keep)
    values = np.array([quality(*q) for q in zip(ranks, ratios, lasting, outlier, strict=True)])
    bad = analysis.nonfinite[keep].sum(axis=0)
    return Derived(
        names=analysis.names,
        base_norm=float(norms[0]),
        delta_norm=norms[1:],
        relative_norm=_ratio(norms[1:], norms[:1]),
        cosine=cosines,
        new_information=new_information(cosines),
        conflict_ratio=conflict_ratio(analysis.conflict[keep].sum(axis=0), active),
        effective_rank=ranks,
        snr=ratios,
        survival=lasting,
        outlier=outlier,
        outlier_ratio=_ratio(outlier * np.sqrt(np.diagonal(active)), norms[1:]),
        quality=values,
        grade=tuple(grade(float(v)) for v in values),
        coverage_frac=_coverage(analysis, keep),
        base_nonfinite=int(bad[0]),
        nonfinite=bad[1:],
    )


def _spectral(analysis: Analysis, keep: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean effective rank and geometric mean SNR over the sampled matrices a model changes.

    [N] each. One matrix of low rank would decide an arithmetic mean of SNRs alone.
    """
    kept = {key for key, inside in zip(analysis.keys, keep, strict=True) if inside}
    ranks = np.full(len(analysis.names), np.nan)
    ratios = np.full(len(analysis.names), np.nan)
    for model in range(len(analysis.names)):
        spectra = [s.energies[model] for s in analysis.spectra if s.key in kept]
        spectra = [e for e in spectra if e.sum() > 0]
        if spectra:
            ranks[model] = np.mean([effective_rank(e) for e in spectra])
            ratios[model] = 10.0 ** np.mean([np.log10(snr(e)) for e in spectra])
    return ranks, ratios


def _coverage(analysis: Analysis, keep: NDArray[np.bool_]) -> Floats:
    sizes = np.array([int(np.prod(s, dtype=np.int64)) for s in analysis.shapes], dtype=np.float64)
    held = (analysis.present[keep] * sizes[keep, None]).sum(axis=0)
    return _ratio(held, sizes[keep].sum(keepdims=True))


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below, 0 where below is 0."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    return np.divide(above, below, out=np.zeros(shape, dtype=np.float64), where=below > 0)
