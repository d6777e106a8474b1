"""Analyses built straight from random deltas, without a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orthomerge_core.analysis.result import Analysis

Floats = NDArray[np.float64]


def analysis_of(
    models: Mapping[str, Sequence[Floats]],
    base: Sequence[Floats],
    keys: Sequence[str] | None = None,
    blocks: Sequence[str] | None = None,
) -> Analysis:
    """The analysis of models given as lists of float64 tensors, base-relative deltas included."""
    count, tensors = len(models), len(base)
    keys = tuple(keys or (f"block.{k}.weight" for k in range(tensors)))
    gram = np.zeros((tensors, count + 1, count + 1))
    active = np.zeros((tensors, count, count), dtype=np.int64)
    conflict = np.zeros_like(active)
    largest = np.zeros((tensors, count))
    for k in range(tensors):
        deltas = [m[k] - base[k] for m in models.values()]
        rows = np.stack([base[k].ravel(), *(d.ravel() for d in deltas)])
        gram[k] = rows @ rows.T
        on = (rows[1:] != 0).astype(np.int64)
        signs = np.sign(rows[1:])
        active[k] = on @ on.T
        conflict[k] = ((active[k] - signs @ signs.T) / 2).round()
        largest[k] = np.abs(rows[1:]).max(axis=1, initial=0.0)
    return Analysis(
        base="base.safetensors",
        names=tuple(models),
        files=tuple(f"{name}.safetensors" for name in models),
        architecture="generic",
        keys=keys,
        shapes=tuple(b.shape for b in base),
        blocks=tuple(blocks or (key.rsplit(".", 1)[0] for key in keys)),
        layer_types=("other",) * tensors,
        gram=gram,
        active=active,
        conflict=conflict,
        max_abs=largest,
        nonfinite=np.zeros((tensors, count + 1), dtype=np.int64),
        present=np.ones((tensors, count), dtype=np.bool_),
        content_hashes={"base": "b0", **{name: f"h-{name}" for name in models}},
    )


def family(seed: int = 0, size: int = 400) -> dict[str, list[Floats]]:
    """child → grandchild, a twin of child, and an unrelated model; plus "base" in front."""
    rng = np.random.default_rng(seed)

    def step(scale: float) -> list[Floats]:
        return [scale * rng.standard_normal(size), scale * rng.standard_normal(size)]

    def plus(a: list[Floats], b: list[Floats]) -> list[Floats]:
        return [x + y for x, y in zip(a, b, strict=True)]

    base = step(1.0)
    child = plus(base, step(0.05))
    return {
        "base": base,
        "child": child,
        "grandchild": plus(child, step(0.03)),
        "twin": plus(child, step(0.001)),
        "stranger": plus(base, step(0.05)),
    }


def random_tree(rng: np.random.Generator, count: int, size: int = 256) -> Analysis:
    """A family whose every model grew from a random earlier one, some with shared directions."""
    base = rng.standard_normal(size)
    shared = rng.standard_normal((3, size))
    grown = [base]
    for i in range(count):
        parent = grown[int(rng.integers(0, i + 1))]
        own = rng.standard_normal(size) + rng.normal(0, 0.6, 3) @ shared
        grown.append(parent + float(rng.uniform(0.01, 0.1)) * own)
    return analysis_of({f"m{i}": [m] for i, m in enumerate(grown[1:])}, [base])
