from __future__ import annotations

import pytest

from orthomerge_core.errors import RecipeError
from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from orthomerge_core.tune.parameters import parse_parameters, recipe_with

RECIPE = Recipe(
    base="base.safetensors",
    models={name: ModelRef(f"{name}.safetensors") for name in ("ink", "paint", "photo")},
    rows=(Row("ink", alpha=0.8), Row("paint"), Row("photo", enabled=False)),
    method="orthomerge",
)


def one(phrase: str):
    return parse_parameters([phrase], RECIPE)[0]


def test_ranges_with_steps_and_logarithms():
    plain = one("ink.alpha = 0:1.5")
    assert (plain.name, plain.low, plain.high, plain.step, plain.log) == (
        "ink alpha",
        0.0,
        1.5,
        None,
        False,
    )
    assert one("alpha = 0..1").high == 1.0
    assert one("strength = 50 %:100 %:0.1").step == 0.1
    assert one("damping = 0.001:1:log").log
    assert one("ink.repeat = 1:3").whole


def test_choices_of_words_and_of_numbers():
    assert one("method = average, slerp").labels == ("average", "slerp")
    assert one("theta_agg = each").labels == ("mean", "median", "max", "sum")
    numbers = one("ink.alpha = 0, 0.5, 1")
    assert numbers.value_of("0.5") == 0.5
    assert one("paint.on = off, on").labels == ("off", "on")


def test_each_stands_for_every_enabled_row():
    names = [p.name for p in parse_parameters(["each.alpha = 0:1"], RECIPE)]
    assert names == ["ink alpha", "paint alpha"]


def test_values_go_into_the_recipe_and_nothing_else_changes():
    parameters = parse_parameters(
        ["ink.alpha = 0:2", "ink.text = 0:1", "layers[*attn*] = 0:1", "ink.delta_from = each"],
        RECIPE,
    )
    values = {
        "ink alpha": 1.25,
        "ink text": 0.5,
        "layers[*attn*]": 0.25,
        "ink delta_from": "paint",
    }
    found = recipe_with(RECIPE, parameters, values)
    assert found.rows[0].alpha == 1.25
    assert found.rows[0].text == 0.5
    assert found.rows[0].layers == "*attn*=0.25"
    assert found.rows[0].delta_from == "paint"
    assert found.rows[1].alpha == 1.0 and found.method == "orthomerge"


def test_an_option_counts_only_for_a_method_that_has_it():
    parameters = parse_parameters(["damping = 0:1", "method = orthomerge, average"], RECIPE)
    assert [p.name for p in parameters] == ["method", "damping"]
    plain = recipe_with(RECIPE, parameters, {"method": "average", "damping": 0.5})
    assert plain.method == "average" and plain.options == {}
    kept = recipe_with(RECIPE, parameters, {"method": "orthomerge", "damping": 0.5})
    assert kept.options == {"damping": 0.5}


@pytest.mark.parametrize(
    ("phrases", "words"),
    [
        ([], "expected 1 to 64, received 0"),
        (["alpha"], 'parameter "alpha" has no "="'),
        (["alpah = 0:1"], 'parameter: nothing is called "alpah". Did you mean "alpha"?'),
        (["alpha = 1:0"], "a range whose end is larger than its start"),
        (["alpha = 0:9"], "expected a range within -5..5, received 0:9"),
        (["alpha = 0:1:log"], "a logarithmic range starts above 0"),
        (["alpha = 0:1:2"], "expected a number above 0 and at most 1, received 2"),
        (["ink.repeat = 1:2.5"], "takes whole numbers"),
        (["alpha = 1"], "has one value, so there is nothing to search"),
        (["method = avrage, slerp"], 'parameter "method": unknown value "avrage"'),
        (["alpha = 0:1", "alpha = 0:2"], 'two parameters set "alpha"'),
        (["alpha = 0:x"], 'parameter "alpha": expected a finite number, received "x"'),
    ],
)
def test_what_cannot_be_understood_is_named(phrases: list[str], words: str):
    with pytest.raises(RecipeError) as caught:
        parse_parameters(phrases, RECIPE)
    assert words in str(caught.value)
