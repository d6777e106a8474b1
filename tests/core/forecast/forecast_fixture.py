"""Writes `tests/fixtures/forecast.json`, which holds the browser's forecast to the core's.

python -m tests.core.forecast.forecast_fixture
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from orthomerge_core.forecast.forecast import forecast, reduce_for_table
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.recipe.codec import row_from_json
from orthomerge_core.recipe.model import TextureBoost
from tests.core.optimize.builders import analysis_of

FIXTURE = Path(__file__).parents[2] / "fixtures" / "forecast.json"

PLAIN = [{"model": "a"}, {"model": "b"}, {"model": "c"}]
CHAIN = [
    {"model": "a", "alpha": 0.8, "layers": "blocks.0=0.5, *norm*=0"},
    {"model": "b", "delta_from": "a", "repeat": 2},
    {"model": "c", "alpha": -1.2, "layers": "default=2, in=0"},
    {"model": "d", "delta_from": "c", "enabled": False},
    {"model": "d", "repeat": 3, "alpha": 0.4},
]
TWICE = [{"model": "a"}, {"model": "a", "alpha": 0.5}, {"model": "d", "delta_from": "a"}]
BROKEN = [
    {"model": "nope"},
    {"model": "a", "delta_from": "gone"},
    {"model": "b", "layers": "attn"},
    {"model": "base"},
    {"model": "c", "delta_from": "c"},
    {"model": "d"},
]
TABLES = {"plain": PLAIN, "chain": CHAIN, "twice": TWICE, "broken": BROKEN, "empty": []}
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("task_arithmetic", {}),
    ("average", {}),
    ("orthogonal_projection", {}),
    ("orthogonal_projection", {"variant": "symmetric"}),
    ("orthogonal_projection", {"variant": "dual"}),
    ("slerp", {}),
    ("orthomerge", {}),
    ("orthomerge", {"theta_agg": "median", "direction_weight": "equal", "residual_agg": "sum"}),
    ("orthomerge", {"theta_agg": "max", "max_rotation_dim": 7}),
    ("orthomerge", {"theta_agg": "sum", "direction_weight": "magnitude"}),
    ("ties", {}),
    ("dare", {"drop": 0.6}),
    ("della", {}),
    ("model_stock", {}),
    ("geometric_median", {"iterations": 4}),
    ("multislerp", {}),
    ("karcher", {}),
    ("svc", {}),
]
BOOSTED = (
    "average",
    "orthogonal_projection",
    "orthomerge",
    "geometric_median",
    "dare",
    "multislerp",
)


def reduced() -> dict[str, Any]:
    """Four models of four tensors; b equals a on one, c the base on another."""
    rng = np.random.default_rng(11)
    shapes = ((6, 8), (9, 9), (12,), (8, 20))
    base = [rng.standard_normal(shape) for shape in shapes]
    shared = [rng.standard_normal(shape) for shape in shapes]
    models = {
        name: [
            b + 0.1 * (rng.standard_normal(b.shape) + pull * s)
            for b, s in zip(base, shared, strict=True)
        ]
        for name, pull in (("a", 0.9), ("b", 0.7), ("c", -0.8), ("d", 0.0))
    }
    models["b"][1] = models["a"][1].copy()
    models["c"][2] = base[2].copy()
    keys = ("in.weight", "blocks.0.attn.weight", "blocks.0.norm", "blocks.1.attn.weight")
    return reduce_for_table(
        analysis_of(models, base, keys, ("in", "blocks.0", "blocks.0", "blocks.1"))
    )


def cases() -> dict[str, Any]:
    """Inputs and what the core says to them."""
    data = reduced()
    boosts = [None, {"model": "d", "alpha": 0.3}]
    found = []
    for name, rows in TABLES.items():
        for method, options in METHODS:
            for boost in boosts if method in BOOSTED else boosts[:1]:
                said = forecast(
                    data,
                    [row_from_json(row) for row in rows],
                    method,
                    options,
                    TextureBoost(**boost) if boost else None,
                )
                found.append(
                    {
                        "table": name,
                        "method": method,
                        "options": options,
                        "texture": boost,
                        "forecast": said.to_json(),
                    }
                )
    methods = {name: method.to_json() for name, method in all_methods().items()}
    return {"reduced": data, "methods": methods, "tables": TABLES, "cases": found}


def main() -> None:
    """Write the fixture anew."""
    FIXTURE.write_text(json.dumps(cases(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
