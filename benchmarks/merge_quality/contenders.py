"""Which merges compete: every method with its options, at several strengths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orthomerge_core.recipe.model import ModelRef, Recipe, Row

from .skills import Subset

__all__ = ["CONTENDERS", "PLAIN", "PUBLISHED", "QUICK", "VARIANTS", "Contender"]

PUBLISHED = "published"
"""A stand-in for a method's name: see `merging.published`."""


@dataclass(frozen=True)
class Contender:
    """A method with options, at one alpha for every row."""

    method: str
    alpha: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The method with what is not default, without alpha."""
        return " ".join([self.method, *(_word(k, v) for k, v in self.options.items())])

    @property
    def key(self) -> str:
        """Unique, for the ledger."""
        return json.dumps([self.method, self.alpha, dict(self.options)], sort_keys=True)

    def recipe(self, subset: Subset, method: str = "", **options: Any) -> Recipe:
        """The merge of a subset; `method` and `options` overrule the contender's."""
        return Recipe(
            base="base.safetensors",
            models={m: ModelRef(f"{m}.safetensors") for m in subset.models},
            rows=tuple(Row(m, p, self.alpha) for m, p in subset.parents.items()),
            method=method or self.method,
            options=dict(self.options) | options,
        )


def _word(name: str, value: Any) -> str:
    return name if value is True else f"{name}={value}"


_SUM = {"residual_agg": "sum", "theta_agg": "sum"}


def _at(alphas: Sequence[float], method: str, **options: Any) -> list[Contender]:
    return [Contender(method, alpha, options) for alpha in alphas]


CONTENDERS: Sequence[Contender] = (
    *_at((0.5, 0.7, 1.0), "task_arithmetic"),
    *_at((1.0,), "average"),
    *_at((0.7, 1.0), "orthogonal_projection"),
    *_at((0.7, 1.0), "orthogonal_projection", variant="symmetric"),
    *_at((0.7, 1.0, 1.2), "orthogonal_projection", variant="dual"),
    *_at((0.7, 1.0), "orthomerge", **_SUM),
    *_at((1.0,), "orthomerge"),
    *_at((1.0,), PUBLISHED),
    *_at((1.0, 2.0), "ties"),
    *_at((0.7,), "dare"),
    *_at((1.0,), "model_stock"),
    *_at((1.0,), "geometric_median"),
)
"""Measured on every subset."""

VARIANTS: Sequence[Contender] = (
    *_at((1.3,), "task_arithmetic"),
    *_at((1.2,), "orthogonal_projection"),
    *_at((1.0,), "orthomerge", damping=0.0),
    *_at((2.0,), "orthomerge"),
    *_at((0.7, 1.0), "orthomerge", residual_agg="sum"),
    *_at((1.0,), "orthomerge", **_SUM, damping=0.0),
    *_at((1.0,), "orthomerge", **_SUM, direction_weight="equal"),
    *_at((1.0,), "orthomerge", **_SUM, conflict_aware=True),
    *_at((1.0,), "ties", density=0.2),
    *_at((0.7,), "della"),
)
"""Options that matter less, measured on `skills.TELLING` only."""

PLAIN: Sequence[Contender] = tuple(
    c
    for c in CONTENDERS
    if c.alpha == 1.0
    and (
        c.method in ("task_arithmetic", "orthogonal_projection")
        or (c.method == "orthomerge" and c.options)
    )
)
"""Measured where only the delta bases are compared."""

QUICK: Sequence[Contender] = tuple(c for c in CONTENDERS if c.alpha == 1.0)
