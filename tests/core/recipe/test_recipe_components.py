"""Fields of a recipe about components: what old and new recipes mean, and what decides a merge."""

from __future__ import annotations

import json

import pytest

from orthomerge_core.errors import RecipeError
from orthomerge_core.recipe import codec
from orthomerge_core.recipe.model import Row, VaeChoice
from orthomerge_core.recipe.table_parse import parse_table

OLD = {
    "schema_version": 1,
    "base": "base.safetensors",
    "models": {"detail": {"file": "detail.safetensors"}},
    "rows": [{"model": "detail", "alpha": 0.5}],
    "method": "average",
}
OLD_CANONICAL = (
    '{"architecture":"auto","base":"base.safetensors","method":"average","options":{},'
    '"output_dtype":"base","repairs":{},"rows":[{"alpha":0.5,"delta_from":"base","layers":"",'
    '"model":"detail.safetensors","repeat":1}],"texture":null}'
)


def without_version(**changes):
    return {k: v for k, v in OLD.items() if k != "schema_version"} | changes


def test_a_recipe_from_before_components_stays_a_merge_of_the_diffusion_model():
    recipe = codec.from_json(OLD)
    assert recipe.components == "diffusion" and not recipe.merges_parts
    assert codec.canonical(recipe) == OLD_CANONICAL
    written = codec.to_json(recipe)
    assert not written.keys() & {"components", "vae", "prediction"}
    assert codec.from_json(written) == recipe


@pytest.mark.parametrize(
    "obj",
    [
        without_version(),
        OLD | {"components": "base"},
        OLD | {"vae": {"from": "base"}},
        OLD | {"prediction": "base"},
        OLD | {"rows": [{"model": "detail", "text": None}]},
        OLD | {"repairs": {"strip_text_encoder": False, "strip_vae": False}},
    ],
)
def test_new_recipes_and_those_by_hand_take_the_components_that_the_base_has(obj):
    recipe = codec.from_json(obj)
    assert recipe.components == "base"
    assert codec.from_json(codec.to_json(recipe)) == recipe


@pytest.mark.parametrize("repairs", [{"strip_vae": True}, {"strip_text_encoder": False}])
def test_the_old_toggles_mean_the_diffusion_model_alone(repairs):
    recipe = codec.from_json(without_version(repairs=repairs))
    assert recipe.components == "diffusion" and recipe.repairs == {}


def test_the_fields_decide_the_merge_only_where_they_do_something():
    plain = codec.from_json(OLD)
    for change in ({"vae": "merge"}, {"prediction": "v"}, {"components": "base"}):
        assert codec.canonical(codec.from_json(OLD | change)) != OLD_CANONICAL, change
    with_text = OLD | {"components": "diffusion", "rows": [{"model": "detail", "text": 0.2}]}
    assert codec.canonical(codec.from_json(with_text)) != codec.canonical(plain)
    same = OLD | {"components": "diffusion", "vae": "base"}
    assert codec.canonical(codec.from_json(same)) == OLD_CANONICAL


def test_a_model_of_the_set_can_give_the_vae_and_the_prediction():
    recipe = codec.from_json(OLD | {"vae": "detail", "prediction": "detail", "rows": []})
    assert recipe.vae == VaeChoice("detail") and recipe.vae_file is None
    assert recipe.used_models() == ("detail",)
    baked = codec.from_json(OLD | {"vae": "kl-f8.safetensors"})
    assert baked.vae_file == "kl-f8.safetensors" and baked.used_models() == ("detail",)


@pytest.mark.parametrize(
    ("text", "l", "g", "t5", "active"),
    [
        (None, 0.0, 0.0, 0.0, False),
        (0.2, 0.2, 0.2, 0.2, True),
        ((0.3, 0.6), 0.3, 0.6, 0.3, True),
        (0.0, 0.0, 0.0, 0.0, False),
    ],
)
def test_alpha_of_each_component(text, l, g, t5, active):  # noqa: E741 - the encoder's name
    row = Row("m", alpha=0.0, text=text)
    names = ("text_encoder.l", "text_encoder.g", "text_encoder.t5", "diffusion", "vae")
    assert [row.alpha_in(name) for name in names] == [l, g, t5, 0.0, 0.0]
    assert row.active is active


@pytest.mark.parametrize(
    ("cell", "expected"),
    [(None, None), ("", None), (0, 0.0), ("0.2", 0.2), ("0.3/0.6", (0.3, 0.6)), ([1, 2], (1, 2))],
)
def test_cells_of_the_tables_text_column(cell, expected):
    table = json.dumps({"version": 1, "rows": [{"model": "m", "text": cell}]})
    (entry,) = parse_table(table).rows
    assert entry.row.text == expected and entry.touched == ("text",)


@pytest.mark.parametrize("cell", ["x", "1/2/3", "0.3/", True, 9, {}, "1/x"])
def test_other_cells_are_refused_with_the_row_and_the_column(cell):
    table = json.dumps({"version": 1, "rows": [{"model": "m", "text": cell}]})
    with pytest.raises(RecipeError) as caught:
        parse_table(table)
    assert str(caught.value).startswith(
        'table row 1, column "text": expected nothing, a number in -5..5, or two such as 0.3/0.6'
    )
