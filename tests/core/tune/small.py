"""A family of four models that share a direction, and a recipe over them."""

from __future__ import annotations

import numpy as np

from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from orthomerge_core.tune.parameters import parse_parameters
from orthomerge_core.tune.scores import ForecastScores, parse_score
from orthomerge_core.tune.study import Plan
from tests.core.optimize.builders import analysis_of

NAMES = ("ink", "paint", "photo")


def analysis(seed: int = 0):
    rng = np.random.default_rng(seed)
    base = [rng.standard_normal((6, 6)) for _ in range(4)]
    shared = [rng.standard_normal((6, 6)) for _ in range(4)]
    models = {
        name: [
            b + 0.1 * (rng.standard_normal(b.shape) + s) for b, s in zip(base, shared, strict=True)
        ]
        for name in NAMES
    }
    return analysis_of(models, base)


def recipe(method: str = "task_arithmetic") -> Recipe:
    refs = {name: ModelRef(f"{name}.safetensors") for name in NAMES}
    return Recipe("base.safetensors", refs, tuple(Row(name) for name in NAMES), method=method)


def plan(*scores: str, parameters: tuple[str, ...] = ("each.alpha = 0:1.5",), **more) -> Plan:
    chosen = recipe()
    found = tuple((s.name, s.direction) for s in map(parse_score, scores or ("forecast",)))
    return Plan(chosen, parse_parameters(parameters, chosen), found, **more)


def scorer(of: Plan) -> ForecastScores:
    return ForecastScores(analysis(), [parse_score(name) for name, _ in of.scores])
