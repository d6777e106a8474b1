"""Strength scales the whole merged change: 0 is the base to the byte, 1 the merge."""

import pytest
import torch

from orthomerge_core import mecha
from orthomerge_core.execute.output.resave import merge_identity
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.methods.registry import all_methods, get_method
from orthomerge_core.recipe import codec
from orthomerge_core.recipe.canonical import canonical
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.execute.conftest import live_spec, recipe_for


def merged(family, method, strength, output="fp32", **fields):
    spec = live_spec(family)
    rows = (Row("a", alpha=0.6), Row("b", alpha=0.9))[: get_method(method).max_rows]
    recipe = recipe_for(
        spec, *rows, method=method, strength=strength, output_dtype=output, **fields
    )
    with plan_merge(recipe, spec) as plan:
        return run_merge(plan), merge_identity(plan)


@pytest.mark.parametrize("method", sorted(all_methods()))
@pytest.mark.parametrize("strength", [0.5, -0.25, 1.5])
def test_the_change_is_scaled_as_a_whole(family, method, strength):
    boost = TextureBoost("b", 0.3)
    whole, _ = merged(family, method, 1.0, texture_boost=boost)
    found, _ = merged(family, method, strength, texture_boost=boost)
    for key, base in family["base"].items():
        if base.is_floating_point():
            base = base.double()
            change = whole.state_dict[key].double() - base
            wanted = base + strength * change
            error = (found.state_dict[key].double() - wanted).norm()
            assert error <= 1e-6 * wanted.norm() + 1e-5 * change.norm(), key
    for name, share in whole.report.retention.items():
        assert found.report.retention[name] == pytest.approx(strength * share, abs=1e-5)


@pytest.mark.parametrize("method", ["average", "orthomerge"])
def test_zero_is_the_base_to_the_byte(family, method):
    found, _ = merged(family, method, 0.0, output="base")
    for key, base in family["base"].items():
        assert torch.equal(found.state_dict[key], base), key
    assert "The strength is 0: the result is the base." in found.report.notes


def test_another_strength_is_another_merge(family):
    _, one = merged(family, "average", 1.0)
    _, half = merged(family, "average", 0.5)
    assert one != half


def test_a_recipe_keeps_its_strength_and_one_without_it_keeps_its_hash(family):
    spec = live_spec(family)
    plain = recipe_for(spec, Row("a"))
    scaled = recipe_for(spec, Row("a"), strength=0.5)
    assert codec.from_json(codec.to_json(scaled)).strength == 0.5
    assert "strength" not in codec.to_json(plain) and "strength" not in canonical(plain)
    assert canonical(scaled) != canonical(plain)


@pytest.mark.parametrize("value", [6, "1", True, None])
def test_a_strength_that_is_none_is_named(value):
    with pytest.raises(codec.RecipeError, match=r"strength: expected a finite number in -5\.\.5"):
        codec.from_json({"base": "b.safetensors", "strength": value})


def test_an_export_says_it(family):
    spec = live_spec(family)
    text = mecha.recipe_text(recipe_for(spec, Row("a", alpha=0.8), strength=0.5))
    assert "0.4" in text
