"""Finds, from samples, models that differ by no more than their formats' rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..keys.aligned import AlignedModel, AlignedSet
from ..keys.components import DIFFUSION, component_of
from ..progress import Progress

__all__ = ["Rounding", "measure_rounding", "read_rounding"]

SAMPLE = 4096
"""Elements compared per tensor, from its middle."""

OUTSIDE_FRAC = 0.05
"""Most elements of a copy that lie farther apart than both formats round; block formats clip a few.

A change of 0.06 steps (root mean square) already puts more elements outside."""

ENERGY_FACTOR = 1.25
"""Most Σ (a − b)² of a copy, in units of Σ (step_a² + step_b²)/12, that of uniform rounding."""

_COARSE_FRAC = {"F64": 1e-6, "F32": 1e-6, "F16": 2e-3, "BF16": 8e-3}
_COARSEST_FRAC = 0.3
"""Bounds of what a format rounds, as fractions of a tensor's norm: they choose pairs to look at."""


@dataclass(frozen=True)
class Rounding:
    """What the stored formats of a set round. Node 0 is the base, node i model i − 1.

    copies: pairs (a, b), a < b, that differ by no more than rounding on every tensor.
    step [N+1]: root mean square of a model's steps, 0 where it was not sampled; the smaller, the
    more exact. frac [N]: fraction of the energy of a model's change from the base that rounding of
    both accounts for, 0..1; NaN where it was not sampled.
    """

    copies: tuple[tuple[int, int], ...]
    step: NDArray[np.float64]
    frac: NDArray[np.float64]

    def select(self, models: Sequence[int]) -> Rounding:
        """That of these models (positions, from 0), in that order."""
        nodes = [0, *(m + 1 for m in models)]
        place = {node: i for i, node in enumerate(nodes)}
        pairs = [(place[a], place[b]) for a, b in self.copies if a in place and b in place]
        copies = tuple(sorted((min(p), max(p)) for p in pairs))
        return Rounding(copies, self.step[nodes], self.frac[list(models)])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; NaN is null."""
        frac = [None if np.isnan(f) else float(f"{f:.6g}") for f in self.frac]
        step = [float(f"{s:.6g}") for s in self.step]
        return {"copies": [list(pair) for pair in self.copies], "step": step, "frac": frac}


def read_rounding(value: Mapping[str, Any], models: int) -> Rounding:
    """Read `to_json`; ValueError where it does not belong to that many models."""
    step = np.asarray(value["step"], dtype=np.float64)
    frac = np.asarray([np.nan if f is None else f for f in value["frac"]], dtype=np.float64)
    copies = tuple((int(a), int(b)) for a, b in value["copies"])
    if step.shape != (models + 1,) or frac.shape != (models,):
        raise ValueError("rounding does not fit the models")
    if any(not 0 <= a < b <= models for a, b in copies):
        raise ValueError("copies of models that are not there")
    return Rounding(copies, step, frac)


def measure_rounding(
    aligned: AlignedSet, gram: NDArray[np.float64], progress: Progress
) -> Rounding:
    """Compare models near enough to be copies, tensor by tensor, on `SAMPLE` elements of each.

    Two tensors are copies where at most `OUTSIDE_FRAC` of their elements lie farther apart than
    half a step of either format together, and Σ (a − b)² is at most `ENERGY_FACTOR` times what
    uniform rounding gives; in rotated formats only the latter means something. Models are copies
    where every tensor of the diffusion model is; other components are not compared.
    gram [keys, N+1, N+1]: of [B, D_1 … D_N].
    Cost: reads `SAMPLE` elements per tensor of the models in question; nothing where all changes
    are larger than any rounding.
    """
    models = (aligned.base, *aligned.models)
    pairs = _candidates(aligned, gram)
    coarse = {n for n, model in enumerate(models) if _is_coarse(aligned, model)}
    nodes = sorted({n for pair in pairs for n in pair} | coarse | ({0} if coarse else set()))
    tally = _Tally(len(models), pairs)
    for key in aligned.keys_of(DIFFUSION) if nodes else ():
        progress.check()
        tally.add({n: _sample(models[n], key, aligned.numel(key)) for n in nodes})
    return tally.result()


def _candidates(aligned: AlignedSet, gram: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs that are not equal and whose distance both formats together may account for."""
    models = (aligned.base, *aligned.models)
    bound2, places = np.zeros(len(models)), []
    for k, key in enumerate(aligned.keys):
        if component_of(key) == DIFFUSION:
            places.append(k)
            for n, model in enumerate(models):
                bound2[n] += _coarse_frac(model, key) ** 2 * gram[k, 0, 0]
    total = gram[places].sum(axis=0)
    total[0, :] = total[:, 0] = 0.0
    norm2 = np.diagonal(total)
    distance2 = norm2[:, None] + norm2[None, :] - 2.0 * total
    every = combinations(range(len(models)), 2)
    return [(a, b) for a, b in every if 0.0 < distance2[a, b] <= bound2[a] + bound2[b]]


def _coarse_frac(model: AlignedModel, key: str) -> float:
    if not model.has(key):
        return 0.0
    entry = model.entry(key)
    return _COARSEST_FRAC if entry.quant else _COARSE_FRAC.get(entry.dtype, _COARSEST_FRAC)


def _is_coarse(aligned: AlignedSet, model: AlignedModel) -> bool:
    """Whether any tensor has 8 bits or fewer."""
    return any(_coarse_frac(model, k) == _COARSEST_FRAC for k in aligned.keys_of(DIFFUSION))


@dataclass(frozen=True)
class _Sample:
    values: Tensor
    steps: Tensor
    each: bool


def _sample(model: AlignedModel, key: str, numel: int) -> _Sample | None:
    if not model.has(key) or not numel:
        return None
    size = min(SAMPLE, numel)
    start = (numel - size) // 2
    values, steps = torch.empty(size), torch.empty(size)
    model.read_into(key, values, start)
    each = model.read_steps(key, steps, start)
    return _Sample(values.double(), steps.double(), each)


class _Tally:
    """Sums over tensors of what is compared."""

    def __init__(self, count: int, pairs: Sequence[tuple[int, int]]) -> None:
        self._left = list(pairs)
        self._step2, self._size = np.zeros(count), np.zeros(count)
        self._noise2, self._change2 = np.zeros(count), np.zeros(count)

    def add(self, samples: Mapping[int, _Sample | None]) -> None:
        """One tensor."""
        found = {n: s for n, s in samples.items() if s is not None}
        self._left = [p for p in self._left if _are_copies(samples[p[0]], samples[p[1]])]
        for node, sample in found.items():
            self._step2[node] += float(sample.steps.square().sum())
            self._size[node] += len(sample.steps)
            if 0 in found and node:
                base = found[0]
                self._noise2[node] += _noise2(base, sample)
                self._change2[node] += float((sample.values - base.values).square().sum())

    def result(self) -> Rounding:
        """After all tensors."""
        step = np.sqrt(self._step2 / np.maximum(self._size, 1.0))
        frac = np.full(len(step) - 1, np.nan)
        there = self._change2[1:] > 0.0
        frac[there] = np.minimum(self._noise2[1:][there] / self._change2[1:][there], 1.0)
        return Rounding(tuple(self._left), step, frac)


def _noise2(a: _Sample, b: _Sample) -> float:
    """Σ (a − b)² of two copies: an error uniform over a step has the variance step²/12."""
    return float(a.steps.square().sum() + b.steps.square().sum()) / 12.0


def _are_copies(a: _Sample | None, b: _Sample | None) -> bool:
    if a is None or b is None:
        return a is b  # both lack it
    apart = (a.values - b.values).abs()
    if not bool(torch.isfinite(apart).all()):
        return False
    count = len(apart)
    slack = 1.0 + 4.0 / count**0.5  # few elements scatter
    if float(apart.square().sum()) > ENERGY_FACTOR * slack * _noise2(a, b):
        return False
    if not (a.each and b.each):
        return True
    outside = int((apart > (a.steps + b.steps) * 0.50005).sum())
    return outside <= OUTSIDE_FRAC * slack * count
