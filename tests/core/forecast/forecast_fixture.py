"""Writes `tests/fixtures/forecast.json`, which holds the browser's forecast to the core's.

python -m tests.core.forecast.forecast_fixture
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthomerge_core.forecast.forecast import forecast, reduce_for_table
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.recipe.codec import row_from_json
from orthomerge_core.recipe.model import TextureBoost
from tests.core.optimize.builders import analysis_of

FIXTURE = Path(__file__).parents[2] / "fixtures" / "forecast.json"

KEYS = ("in.weight", "blocks.0.attn.weight", "blocks.0.norm", "blocks.1.attn.weight")
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
TEXT = [
    {"model": "a", "alpha": 0.8, "text": 0.3},
    {"model": "b", "alpha": 0.5, "text": [0, 0.9], "layers": "text_encoder.g=0.5, blocks.1=2"},
    {"model": "c", "alpha": 0.0, "text": [0.4, -0.2]},
    {"model": "d", "text": 0},
]
TABLES = {"plain": PLAIN, "chain": CHAIN, "twice": TWICE, "broken": BROKEN, "empty": []}
PART_TABLES = {"text": TEXT, "both": PLAIN}
PART_METHODS = ("average", "orthogonal_projection", "orthomerge", "model_stock", "dare")
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
    return _reduced(
        rng, ((6, 8), (9, 9), (12,), (8, 20)), KEYS, ("in", *["blocks.0"] * 2, "blocks.1")
    )


def reduced_parts() -> dict[str, Any]:
    """The same of a checkpoint: a tensor or two of the model, two text encoders and a VAE."""
    blocks = ("in", "blocks.0", "text_encoder.l.layers.0", "text_encoder.g.layers.0", "vae.decoder")
    keys = tuple(f"{block}.w.weight" for block in blocks)
    return _reduced(
        np.random.default_rng(5), ((6, 8), (9, 9), (7, 7), (5, 9), (4, 6)), keys, blocks
    )


def _reduced(
    rng: np.random.Generator,
    shapes: Sequence[tuple[int, ...]],
    keys: Sequence[str],
    blocks: Sequence[str],
) -> dict[str, Any]:
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
    return reduce_for_table(analysis_of(models, base, keys, blocks))


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
    parts = reduced_parts()
    return {
        "reduced": data,
        "reduced_parts": parts,
        "methods": methods,
        "tables": TABLES | PART_TABLES,
        "cases": found,
        "part_cases": _part_cases(parts),
    }


def _part_cases(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Forecasts of a checkpoint, per component; the VAE is the base's or merged."""
    found = []
    for name, rows in PART_TABLES.items():
        for method in PART_METHODS:
            for vae, boost in (("base", None), ("merge", {"model": "d", "alpha": 0.3})):
                texture = TextureBoost(**boost) if boost else None
                read = [row_from_json(row) for row in rows]
                said = forecast(data, read, method, {}, texture, vae)
                case = {"table": name, "method": method, "options": {}, "texture": boost}
                found.append(case | {"vae": vae, "forecast": said.to_json()})
    return found


def main() -> None:
    """Write the fixture anew."""
    FIXTURE.write_text(json.dumps(cases(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
