"""Many forecasts against `forecast` itself, which test_forecast.py holds against whole tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.forecast.forecast import forecast
from orthomerge_core.forecast.many import ManyForecasts
from orthomerge_core.forecast.reduction import read_reduced, reduce_for_table
from orthomerge_core.methods.registry import all_methods, get_method
from orthomerge_core.recipe.model import ModelRef, Recipe, Row, TextureBoost
from tests.core.forecast.test_forecast import BLOCKS, KEYS, family
from tests.core.optimize.builders import analysis_of

NAMES = ("a", "b", "c", "d")


def reduced(seed: int = 0):
    models = family(seed)
    base = models.pop("base")
    return read_reduced(reduce_for_table(analysis_of(models, base, KEYS, BLOCKS)))


def recipe(method: str, rows: tuple[Row, ...], **more) -> Recipe:
    refs = {name: ModelRef(f"{name}.safetensors") for name in NAMES}
    return Recipe("base.safetensors", refs, rows, method=method, **more)


def assert_equal(many: ManyForecasts, data, chosen: Recipe):
    found = many.figures(chosen)
    options = get_method(chosen.method).check_options(chosen.options)
    wanted = forecast(data, chosen.rows, chosen.method, options, chosen.texture_boost)
    s = chosen.strength
    for share, row in zip(found.retention, wanted.rows, strict=True):
        expected = None if row.retention is None else s * row.retention
        assert share == (None if expected is None else pytest.approx(expected, abs=1e-12))
    if wanted.norm is not None:
        assert found.norm == pytest.approx(abs(s) * wanted.norm, rel=1e-9)
        assert found.base_share == pytest.approx(abs(s) * wanted.base_share, rel=1e-9)
    if wanted.cancellation is not None:
        expected = 1 - s**2 * (1 - wanted.cancellation)
        assert found.cancellation == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", sorted(set(all_methods()) - {"slerp"}))
def test_every_method_forecasts_the_same(method: str):
    data = reduced()
    many = ManyForecasts(data)
    rows = (Row("a", alpha=0.7), Row("b", "a", alpha=1.2), Row("c", layers="blocks.0=0.3"))
    for alpha in (0.2, 1.0, -0.4, 0.0):
        changed = (replace(rows[0], alpha=alpha), *rows[1:])
        assert_equal(many, data, recipe(method, changed, strength=0.8))


@settings(max_examples=25, deadline=None)
@given(
    alphas=st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    repeats=st.lists(st.integers(1, 3), min_size=4, max_size=4),
    on=st.lists(st.booleans(), min_size=4, max_size=4),
    method=st.sampled_from(["task_arithmetic", "average", "orthogonal_projection"]),
    variant=st.sampled_from(["sequential", "symmetric", "dual"]),
)
def test_alphas_repeats_and_switches(alphas, repeats, on, method, variant):
    data = reduced(3)
    many = ManyForecasts(data)
    rows = tuple(
        Row(name, alpha=alpha, repeat=repeat, enabled=enabled)
        for name, alpha, repeat, enabled in zip(NAMES, alphas, repeats, on, strict=True)
    )
    options = {"variant": variant} if method == "orthogonal_projection" else {}
    assert_equal(many, data, recipe(method, rows, options=options))


def test_texture_unknown_models_and_unreadable_layers_take_the_plain_way():
    data = reduced()
    many = ManyForecasts(data)
    rows = (Row("a"), Row("b"))
    boosted = recipe("task_arithmetic", rows, texture_boost=TextureBoost("a", 0.3))
    assert_equal(many, data, boosted)
    assert_equal(many, data, recipe("task_arithmetic", (*rows, Row("stranger"))))
    assert_equal(many, data, recipe("task_arithmetic", (*rows, Row("c", layers="nothing=1"))))


def test_a_change_of_alpha_computes_no_coefficients_again(monkeypatch):
    data = reduced()
    many = ManyForecasts(data)
    method = get_method("orthogonal_projection")
    calls = []
    plain = type(method).coefficients

    def counted(self, *arguments):
        calls.append(1)
        return plain(self, *arguments)

    monkeypatch.setattr(type(method), "coefficients", counted)
    rows = (Row("a"), Row("b"))
    many.figures(recipe("orthogonal_projection", rows))
    first = len(calls)
    for alpha in np.linspace(0.1, 2, 50):
        many.figures(recipe("orthogonal_projection", (Row("a", alpha=float(alpha)), rows[1])))
    assert len(calls) == first > 0
