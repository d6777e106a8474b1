from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.errors import AnalysisError, RecipeError
from orthomerge_core.forecast.forecast import Forecast, forecast, reduce_for_table
from orthomerge_core.recipe.layers import parse_layers
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.optimize.builders import Floats, analysis_of
from tests.oracles import (
    naive_average,
    naive_sequential_projection,
    naive_symmetric_projection,
    naive_task_arithmetic,
)

BLOCKS = ("in", "blocks.0", "blocks.0", "blocks.1")
KEYS = ("in.weight", "blocks.0.attn.weight", "blocks.0.norm", "blocks.1.attn.weight")
SHAPES = ((6, 8), (9, 9), (12,), (8, 20))
LINEAR = [
    ("task_arithmetic", {}),
    ("average", {}),
    ("orthogonal_projection", {"variant": "sequential"}),
    ("orthogonal_projection", {"variant": "symmetric"}),
]


@dataclass
class Measured:
    """What a merge of whole tensors in float64 has to say."""

    norm: float
    retention: list[float | None]
    block_norms: list[float]
    block_retention: list[list[float | None]]


def family(seed: int, names: tuple[str, ...] = ("a", "b", "c", "d")) -> dict[str, list[Floats]]:
    """Models with shared directions; b equals a on one tensor, c has no change on another."""
    rng = np.random.default_rng(seed)
    base = [rng.standard_normal(shape) for shape in SHAPES]
    shared = [rng.standard_normal(shape) for shape in SHAPES]
    models = {"base": base}
    for name in names:
        models[name] = [
            b + 0.1 * (rng.standard_normal(b.shape) + rng.normal() * s)
            for b, s in zip(base, shared, strict=True)
        ]
    if "b" in names:
        models["b"][1] = models["a"][1].copy()
    if "c" in names:
        models["c"][2] = base[2].copy()
    return models


def measure(
    models: dict[str, list[Floats]],
    rows: list[Row],
    method: str,
    options: dict[str, object],
    texture: TextureBoost | None = None,
) -> Measured:
    """The merge itself, tensor by tensor, and its retention."""
    deltas, changes = [], []
    for k in range(len(KEYS)):
        every = [torch.from_numpy(models[r.model][k] - models[r.delta_from][k]) for r in rows]
        weights = [r.alpha * parse_layers(r.layers).weight(KEYS[k], BLOCKS[k]) for r in rows]
        on = [
            i
            for i, r in enumerate(rows)
            if r.enabled and weights[i] != 0 and bool((every[i] != 0).any())
        ]
        change = _merge(
            [every[i] for i in on],
            [weights[i] for i in on],
            [rows[i].repeat for i in on],
            method,
            options,
            torch.from_numpy(models["base"][k]),
        )
        if texture is not None and texture.model is not None:
            parent = next((r.delta_from for r in rows if r.model == texture.model), "base")
            boost = models[texture.model][k] - models[parent][k]
            change = change + texture.alpha * torch.from_numpy(boost)
        deltas.append(every)
        changes.append(change)
    blocks = tuple(dict.fromkeys(BLOCKS))
    of = [[k for k in range(len(KEYS)) if BLOCKS[k] == block] for block in blocks]
    return Measured(
        norm=_norm(changes, range(len(KEYS))),
        retention=_retention(deltas, changes, range(len(KEYS))),
        block_norms=[_norm(changes, keys) for keys in of],
        block_retention=[_retention(deltas, changes, keys) for keys in of],
    )


def _merge(deltas, alphas, repeats, method, options, base):
    if not deltas:
        return torch.zeros_like(base)
    if method == "average":
        return naive_average(base, deltas, alphas, repeats) - base
    if method == "orthogonal_projection":
        symmetric = options.get("variant") == "symmetric"
        deltas = (naive_symmetric_projection if symmetric else naive_sequential_projection)(deltas)
    return naive_task_arithmetic(base, deltas, alphas, repeats) - base


def _norm(changes, keys):
    return float(sum(changes[k].square().sum() for k in keys)) ** 0.5


def _retention(deltas, changes, keys):
    found = []
    for r in range(len(deltas[0])):
        own = float(sum(deltas[k][r].square().sum() for k in keys))
        kept = float(sum((deltas[k][r] * changes[k]).sum() for k in keys))
        found.append(kept / own if own > 0 else None)
    return found


def same(found: Forecast, wanted: Measured, rel: float = 1e-9) -> None:
    close = {"rel": rel, "abs": rel}
    assert found.exact
    assert found.norm == pytest.approx(wanted.norm, **close)
    for row, retention in zip(found.rows, wanted.retention, strict=True):
        assert row.retention == (None if retention is None else pytest.approx(retention, **close))
    for b, block in enumerate(found.blocks):
        assert block.norm == pytest.approx(wanted.block_norms[b], **close)
        for got, want in zip(block.retention, wanted.block_retention[b], strict=True):
            assert got == (None if want is None else pytest.approx(want, **close))


def reduced_of(models: dict[str, list[Floats]]) -> dict[str, object]:
    others = {name: m for name, m in models.items() if name != "base"}
    return reduce_for_table(analysis_of(others, models["base"], KEYS, BLOCKS))


some_rows = st.lists(
    st.builds(
        Row,
        model=st.sampled_from("abcd"),
        delta_from=st.sampled_from(["base", "base", "a", "d"]),
        alpha=st.sampled_from([1.0, 0.5, -0.7, 2.0, 0.0]),
        enabled=st.sampled_from([True, True, True, False]),
        repeat=st.integers(1, 3),
        layers=st.sampled_from(
            ["", "", "blocks.0=0.5", "*attn*=0, default=2", "in=0", "default=0"]
        ),
    ).filter(lambda row: row.model != row.delta_from),
    max_size=5,
    unique_by=lambda row: (row.model, row.delta_from),
)


@pytest.mark.parametrize(("method", "options"), LINEAR[:2])
@settings(max_examples=40, deadline=None)
@given(rows=some_rows, seed=st.integers(0, 5), boost=st.sampled_from([0.0, 0.3]))
def test_sums_equal_the_merge(
    method: str, options: dict[str, object], rows: list[Row], seed: int, boost: float
) -> None:
    models = family(seed)
    texture = TextureBoost("d", boost)
    found = forecast(reduced_of(models), rows, method, options, texture)
    same(found, measure(models, rows, method, options, texture))


@pytest.mark.parametrize(("method", "options"), LINEAR[2:])
@pytest.mark.parametrize("seed", range(4))
def test_projections_equal_the_merge(method: str, options: dict[str, object], seed: int) -> None:
    models = family(seed, ("a", "e", "c", "d"))
    rows = [
        Row("a", alpha=0.8, layers="blocks.1=0, in=0.5"),
        Row("e", "a", repeat=2),
        Row("c", alpha=-1.2),
        Row("d", "c", enabled=False),
    ]
    same(
        forecast(reduced_of(models), rows, method, options), measure(models, rows, method, options)
    )


def test_a_repeated_and_a_dependent_row_are_projected_away() -> None:
    models = family(1)
    rows = [Row("a"), Row("a"), Row("d"), Row("d", "a")]
    found = forecast(reduced_of(models), rows, "orthogonal_projection")
    alone = forecast(reduced_of(models), [Row("a"), Row("d")], "orthogonal_projection")
    assert found.norm == pytest.approx(alone.norm, rel=1e-6)
    assert found.rows[0].retention == pytest.approx(found.rows[1].retention)


def test_a_row_without_change_on_a_tensor_does_not_dilute_it() -> None:
    models = family(0)
    rows = [Row("b", "a"), Row("d")]  # b equals a on blocks.0.attn.weight
    found = forecast(reduced_of(models), rows, "average")
    same(found, measure(models, rows, "average", {}))
    assert found.blocks[0].retention[1] == pytest.approx(0.5, abs=0.4)


def test_a_row_from_itself_keeps_nothing_and_takes_no_part() -> None:
    models = family(0)
    found = forecast(reduced_of(models), [Row("a", "a"), Row("d")], "average")
    assert (found.rows[0].norm, found.rows[0].retention) == (0.0, None)
    assert found.rows[0].new_information is None
    assert found.rows[1].retention == pytest.approx(1.0)
    assert found.rows[1].new_information is None


def test_figures_of_rows_and_cancellation() -> None:
    change = np.random.default_rng(0).standard_normal((4, 4))
    zero = np.zeros((4, 4))
    analysis = analysis_of({"up": [change], "down": [-change], "more": [2 * change]}, [zero])
    reduced = reduce_for_table(analysis)
    cancelled = forecast(reduced, [Row("up"), Row("down")], "task_arithmetic")
    assert cancelled.norm == pytest.approx(0.0, abs=1e-6)
    assert cancelled.cancellation == pytest.approx(1.0)
    assert cancelled.base_share is None
    assert [r.new_information for r in cancelled.rows] == pytest.approx([0.0, 0.0], abs=1e-9)
    added = forecast(reduced, [Row("up"), Row("more", "up")], "task_arithmetic")
    assert added.cancellation == pytest.approx(-1.0)
    nothing = forecast(reduced, [Row("up", enabled=False)], "average")
    assert (nothing.norm, nothing.cancellation) == (0.0, None)
    assert nothing.rows[0].retention == 0.0
    assert nothing.blocks[0].cancellation is None


def test_rows_that_cannot_be_evaluated_say_why() -> None:
    rows = [Row("nope"), Row("a", "nope"), Row("a", layers="attn"), Row("base"), Row("a")]
    found = forecast(reduced_of(family(0)), rows, "task_arithmetic")
    assert [r.problem for r in found.rows] == ["model", "delta_from", "layers", "model", ""]
    assert found.rows[4].retention == pytest.approx(1.0)
    assert found.blocks[0].retention[:4] == (None,) * 4


def test_unknown_methods_options_and_versions_are_refused() -> None:
    reduced = reduced_of(family(0))
    with pytest.raises(RecipeError, match='unknown method "mean"'):
        forecast(reduced, [], "mean")
    with pytest.raises(RecipeError, match='unknown option "x" of method average'):
        forecast(reduced, [], "average", {"x": 1})
    with pytest.raises(
        AnalysisError, match=r"another version: expected 1.*Run the analyzer again\."
    ):
        forecast({**reduced, "version": 2}, [], "average")


def test_many_models_are_packed_as_float32() -> None:
    rng = np.random.default_rng(2)
    base = [rng.standard_normal(5) for _ in range(300)]
    models = {f"m{i}": [b + 0.01 * rng.standard_normal(5) for b in base] for i in range(32)}
    reduced = reduce_for_table(analysis_of(models, base))
    assert reduced["distances"]["dtype"] == "f4"
    rows = [Row("m0"), Row("m1", "m2", alpha=0.5)]
    found = forecast(reduced, rows, "task_arithmetic")
    deltas = [[m - b for m, b in zip(models["m0"], base, strict=True)]]
    deltas.append([m - p for m, p in zip(models["m1"], models["m2"], strict=True)])
    merged = [x + 0.5 * y for x, y in zip(*deltas, strict=True)]
    kept = sum(float(x @ w) for x, w in zip(deltas[0], merged, strict=True))
    own = sum(float(x @ x) for x in deltas[0])
    assert found.rows[0].retention == pytest.approx(kept / own, abs=1e-5)


@pytest.mark.parametrize("method", ["orthomerge", "slerp"])
def test_one_row_of_an_estimate_is_that_row(method: str) -> None:
    models = family(3)
    found = forecast(reduced_of(models), [Row("a", alpha=0.5, repeat=1)], method)
    assert not found.exact
    assert found.rows[0].retention == pytest.approx(0.5)
