"""Merges by the engine itself: recipe, plan, run into memory; and what the Gram says beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthomerge_core.analysis.stream import analyze
from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.decomposition_cache import DecompositionCache
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.forecast.forecast import forecast
from orthomerge_core.forecast.reduction import reduce_for_table
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.recipe.model import Recipe
from scripts.support import env

from .contenders import PUBLISHED, Contender
from .painter import read
from .skills import SKILLS, Subset

__all__ = ["foreseen", "gram", "merge", "nearness", "rests_at"]

_BUDGET_BYTES = 2 << 30
_FACTOR = 0.2
"""Fixed in the published code."""


def merge(folder: Path, subset: Subset, contender: Contender) -> dict[str, Tensor]:
    """Merged weights, rounded to the base's dtype as a user gets them."""
    if contender.method == PUBLISHED:
        return published(folder, subset, contender)
    return _run(folder, contender.recipe(subset), None)


def published(folder: Path, subset: Subset, contender: Contender) -> dict[str, Tensor]:
    """The published scheme: no damping, rests added up at 0.2, vectors' differences at 0.2.

    Our engine knows `mean` and `sum` of the rests; the factor 0.2 follows from both (`rests_at`).
    Rotations are on the smaller side; the published side leaves them undefined where a layer is
    wide.
    """
    options = {"damping": 0.0, "theta_agg": "mean"}
    make = {
        how: _run(
            folder, contender.recipe(subset, "orthomerge", residual_agg=how, **options), "fp32"
        )
        for how in ("mean", "sum")
    }
    base, count = read(folder / "base.safetensors"), len(subset.parents)
    found = {}
    for key, stored in base.items():
        mean, total, start = make["mean"][key], make["sum"][key], stored.float()
        if stored.ndim < 2:
            merged = start + _FACTOR * count * (mean - start)
        else:
            merged = rests_at(mean, total, count, _FACTOR)
        found[key] = merged.to(stored.dtype)
    return found


def rests_at(mean: Tensor, total: Tensor, count: int, factor: float) -> Tensor:
    """X + factor · Σρ from X + Σρ/n and X + Σρ, n = count ≥ 2."""
    return mean + (factor - 1 / count) / (1 - 1 / count) * (total - mean)


def _run(folder: Path, recipe: Recipe, dtype: str | None) -> dict[str, Tensor]:
    names = sorted({*recipe.models, *recipe.used_models()})
    spec = spec_from_paths(
        folder / "base.safetensors", [folder / f"{name}.safetensors" for name in names]
    )
    cache = DecompositionCache(env.CACHE / "quality" / "decompositions", _BUDGET_BYTES)
    with plan_merge(recipe, spec, output_dtype=dtype) as plan:
        return run_merge(plan, Caches(decompositions=cache), provenance=False).state_dict


@cache
def _reduced(folder: Path) -> tuple[Mapping[str, Any], list[list[float]]]:
    spec = spec_from_paths(
        folder / "base.safetensors", [folder / f"{name}.safetensors" for name in SKILLS]
    )
    with open_set(spec) as aligned:
        analysis = analyze(aligned, rank_samples=0, threads=1)
    return reduce_for_table(analysis), analysis.delta_gram().tolist()


def gram(folder: Path) -> list[list[float]]:
    """⟨M_a − B, M_b − B⟩ over base and `SKILLS`, [1 + skills, 1 + skills]."""
    return _reduced(folder)[1]


def foreseen(folder: Path, subset: Subset, contender: Contender) -> dict[str, float | None]:
    """Forecast retention of every row from the Gram alone; empty where a method has none."""
    if contender.method == PUBLISHED:
        return {}
    recipe = contender.recipe(subset)
    rows = forecast(_reduced(folder)[0], recipe.rows, recipe.method, recipe.options).rows
    return {row.model: r.retention for row, r in zip(recipe.rows, rows, strict=True)}


@cache
def _vectors(folder: Path) -> tuple[Tensor, Tensor]:
    base = _flat(read(folder / "base.safetensors"))
    return base, torch.stack([_flat(read(folder / f"{n}.safetensors")) - base for n in SKILLS])


def nearness(folder: Path, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """‖W − B‖² as `norm2`, and per skill ⟨W − B, D⟩ as `dots` with D = M − B."""
    base, deltas = _vectors(folder)
    change = _flat(weights) - base
    dots = (deltas @ change).tolist()
    return {"norm2": float(change @ change), "dots": dict(zip(SKILLS, dots, strict=True))}


def _flat(weights: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([weights[key].double().flatten() for key in sorted(weights)])
