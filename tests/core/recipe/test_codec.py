import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import RecipeError
from orthomerge_core.methods.registry import all_methods, get_method
from orthomerge_core.recipe import codec
from orthomerge_core.recipe.model import ModelRef, Recipe, Row, TextureBoost, VaeChoice
from tests.strategies import showable_text

SCHEMA = json.loads(
    (Path(codec.__file__).parent / "recipe.schema.json").read_text(encoding="utf-8")
)

EXAMPLE = {
    "schema_version": 1,
    "base": "base.safetensors",
    "architecture": "auto",
    "models": {
        "detail": {"file": "detail.safetensors"},
        "flash": {"file": "sub/flash.safetensors", "content_hash": "0" * 32, "note": "mine"},
    },
    "rows": [
        {
            "enabled": True,
            "model": "detail",
            "delta_from": "base",
            "alpha": 1.0,
            "repeat": 2,
            "layers": "",
            "info": "via base",
            "colour": "blue",
        }
    ],
    "method": "orthomerge",
    "options": {"damping": 0.001},
    "texture_boost": {"model": None, "alpha": 0.0, "later": 1},
    "output_dtype": "base",
    "author": {"name": "somebody"},
}

names = st.text("abcde.-_ ", min_size=1, max_size=8).filter(lambda s: s.strip() and s != "base")
rows = st.builds(
    Row,
    model=names,
    delta_from=st.one_of(st.just("base"), names),
    alpha=st.floats(-5, 5),
    enabled=st.booleans(),
    repeat=st.integers(1, 3),
    layers=st.sampled_from(["", "default=0.5", "double_blocks.0-9=0.5\n*attn*=0"]),
    info=showable_text(10),
    extra=st.dictionaries(st.just("colour"), st.text(max_size=5), max_size=1),
    text=st.one_of(st.none(), st.floats(-5, 5), st.tuples(st.floats(-5, 5), st.floats(-5, 5))),
)
recipes = st.builds(
    Recipe,
    base=st.just("base.safetensors"),
    models=st.dictionaries(names, st.builds(ModelRef, file=st.just("sub/m.safetensors"))),
    rows=st.lists(rows, max_size=4).map(tuple),
    method=st.sampled_from(["orthomerge", "average"]),
    options=st.dictionaries(st.just("damping"), st.floats(0, 1), max_size=1),
    texture_boost=st.builds(
        TextureBoost, model=st.one_of(st.none(), names), alpha=st.floats(0, 0.5)
    ),
    output_dtype=st.sampled_from(["base", "bf16", "fp8_e4m3fn"]),
    repairs=st.dictionaries(st.just("fix_prefixes"), st.booleans()),
    base_hash=st.one_of(st.none(), st.just("a" * 32)),
    extra=st.dictionaries(st.just("author"), st.text(max_size=5), max_size=1),
    components=st.just("base"),
    vae=st.builds(
        VaeChoice,
        source=st.sampled_from(["base", "merge", "sub/kl-f8.safetensors"]),
        content_hash=st.one_of(st.none(), st.just("b" * 32)),
    ),
    prediction=st.sampled_from([None, "base", "epsilon", "v", "v+ztsnr"]),
)


def wrong(**changes: object) -> dict:
    return {**EXAMPLE, **changes}


def test_the_documented_example_survives_a_round_trip_with_its_unknown_fields():
    assert codec.to_json(codec.from_json(EXAMPLE)) == EXAMPLE


@given(recipes)
def test_round_trip_through_text(recipe: Recipe):
    text = codec.dumps(recipe)
    assert codec.loads(text) == recipe
    jsonschema.validate(json.loads(text), SCHEMA)


def test_a_model_of_the_graph_is_marked_and_others_are_not():
    models = {"a": {"file": "MODEL a", "live": True}, "b": {"file": "b.safetensors"}}
    recipe = codec.from_json({"base": "x.safetensors", "models": models})
    assert (recipe.models["a"].live, recipe.models["b"].live) == (True, False)
    assert codec.to_json(recipe)["models"] == models
    models["a"]["live"] = "yes"
    with pytest.raises(RecipeError, match='models, "a", live'):
        codec.from_json({"base": "x.safetensors", "models": models})


def test_a_minimal_recipe_gets_the_documented_defaults():
    recipe = codec.loads('{"base": "b.safetensors"}')
    assert recipe == Recipe(base="b.safetensors", models={}, rows=())
    assert recipe.method == "orthomerge"


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        ([], "recipe: expected an object {…}, received []"),
        ({}, 'recipe: "base" is missing'),
        (wrong(rows={}), "rows: expected a list"),
        (wrong(rows=[3]), "row 1: expected an object"),
        (wrong(rows=[{}]), 'row 1: "model" is missing'),
        (wrong(rows=[{"model": "a", "alpha": "1"}]), "row 1, alpha: expected a finite number"),
        (wrong(rows=[{"model": "a", "alpha": 5.1}]), "in -5..5, received 5.1"),
        (wrong(rows=[{"model": "a", "alpha": True}]), "row 1, alpha"),
        (wrong(rows=[{"model": "a", "repeat": 0}]), "row 1, repeat: expected a whole number in 1"),
        (wrong(rows=[{"model": "a", "repeat": 1.5}]), "row 1, repeat"),
        (wrong(rows=[{"model": "a", "enabled": 1}]), "row 1, enabled: expected true or false"),
        (wrong(rows=[{"model": "a"}] * 10_000), "too many rows: expected at most 256, received 10"),
        (wrong(models={"base": {"file": "x"}}), 'named "base"'),
        (wrong(models={"a": {"file": "../x"}}), "leaves the models folder"),
        (wrong(models={"a": {"file": "/etc/x"}}), "leaves the models folder"),
        (wrong(models={"a": {"file": "C:\\x"}}), "leaves the models folder"),
        (wrong(models={"a": {"file": "x", "content_hash": "zz"}}), "32 hexadecimal digits"),
        (wrong(base=""), "base: expected text that is not empty"),
        (wrong(output_dtype="bf61"), 'Did you mean "bf16"'),
        (wrong(texture_boost={"model": "a", "alpha": 0.6}), "texture_boost, alpha"),
        (wrong(schema_version=2), "newer schema version: expected at most 1, received 2"),
        (wrong(schema_version=0), "unknown schema version"),
        (wrong(repairs={"fix_prefixes": "no"}), "repairs.fix_prefixes"),
        (wrong(options=[]), "options: expected an object"),
        (wrong(texture_boost=[]), "texture_boost: expected an object"),
        (wrong(base="a\nb"), "base: expected text without control characters"),
        (wrong(components="all"), 'unknown components "all"'),
        (wrong(vae="kl-f8"), 'vae: no model "kl-f8", and no safetensors file of that name'),
        (wrong(vae={"from": "../x.safetensors"}), "leaves the models folder"),
        (wrong(prediction="vpred"), 'unknown prediction "vpred"'),
        (wrong(rows=[{"model": "a", "text": "1"}]), "row 1, text: expected a finite number"),
        (wrong(rows=[{"model": "a", "text": [1]}]), "a number, or two for encoders L and G"),
        (wrong(base="\ud800"), "recipe: a character that is not Unicode"),
        (wrong(note={"deep": ["\udfff"]}), "recipe: a character that is not Unicode"),
        (wrong(note=float("nan")), "recipe is not plain JSON"),
    ],
)
def test_wrong_recipes_are_refused_with_the_place_and_the_way_out(obj: object, says: str):
    with pytest.raises(RecipeError) as caught:
        codec.from_json(obj)
    message = str(caught.value)
    assert says in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_path_is_not_repeated_in_the_message():
    with pytest.raises(RecipeError) as caught:
        codec.from_json(wrong(base="/home/someone/secret/x.safetensors"))
    assert "someone" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON at line 1"),
        ('{"base": "b", "base": "c"}', '"base" appears twice'),
        ('{"base": "b", "options": {"damping": NaN}}', "NaN is not a JSON number"),
        ("[" * 100_000, "not JSON"),
        ('{"base": "b", "number": ' + "1" * 5000 + "}", "not JSON"),
        ('{"base": "b", "rows": [{"model": "a", "alpha": NaN}]}', "NaN is not a JSON number"),
        ('{"base": "b", "rows": [{"model": "a", "alpha": 1e999}]}', "not plain JSON"),
        ('{"note": "' + "x" * 1_000_000 + '"}', "too long: expected at most 1000000 characters"),
    ],
)
def test_text_that_is_not_proper_json(text: str, says: str):
    with pytest.raises(RecipeError, match=says):
        codec.loads(text)


def test_versions_migrate_step_by_step():
    steps = {0: lambda d: d | {"a": 1}, 1: lambda d: d | {"b": d["a"] + 1}}
    lifted = codec.migrate({"schema_version": 0}, steps, newest=2)
    assert lifted == {"schema_version": 2, "a": 1, "b": 2}


class TestCanonical:
    recipe = Recipe(
        base="b",
        models={"x": ModelRef("x.safetensors"), "y": ModelRef("y.safetensors")},
        rows=(Row("x", alpha=0.5, info="why"), Row("y", enabled=False)),
    )

    def test_cosmetics_do_not_count(self):
        other = replace(
            self.recipe,
            rows=(Row("x", alpha=0.5, extra={"c": 1}), Row("y", alpha=0.0)),
            extra={"a": 1},
        )
        assert codec.canonical(other) == codec.canonical(self.recipe)

    def test_renaming_a_model_does_not_count(self):
        other = replace(
            self.recipe, models={"z": ModelRef("x.safetensors")}, rows=(Row("z", alpha=0.5),)
        )
        assert codec.canonical(other) == codec.canonical(self.recipe)

    @pytest.mark.parametrize(
        "change",
        [
            {"rows": (Row("x", alpha=0.6),)},
            {"rows": (Row("x", alpha=0.5, repeat=2),)},
            {"rows": (Row("x", alpha=0.5, layers="default=0.5"),)},
            {"rows": (Row("x", alpha=0.5, delta_from="y"),)},
            {"method": "average"},
            {"options": {"damping": 0.0}},
            {"texture_boost": TextureBoost("x", 0.1)},
            {"output_dtype": "bf16"},
            {"base": "c"},
            {"base_hash": "0" * 32},
        ],
    )
    def test_whatever_decides_the_result_counts(self, change: dict):
        assert codec.canonical(replace(self.recipe, **change)) != codec.canonical(self.recipe)

    def test_row_order_counts(self):
        rows = (Row("x"), Row("y"))
        forward, back = replace(self.recipe, rows=rows), replace(self.recipe, rows=rows[::-1])
        assert codec.canonical(forward) != codec.canonical(back)


def test_a_duplicate_among_many_keys_is_found_without_counting_each(monkeypatch):
    """Linear: the names are compared as often per name in a long recipe as in a short one."""
    compared = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    def comparisons(count):
        nonlocal compared
        compared = 0
        pairs = [(Name(f"k{n}"), 0) for n in range(count)] + [(Name("k1"), 0)]
        with pytest.raises(RecipeError, match='"k1" appears twice'):
            codec._unique(pairs)
        return compared

    assert comparisons(10_000) <= 10 * comparisons(1_000) + 10_000


def test_ties_without_a_density_means_what_it_always_meant():
    """New mixes state 0.2; what was stored before states nothing, keeps all, and has its hash."""
    stored = {"base": "b.safetensors", "models": {"a": "a.safetensors"}, "method": "ties"}
    stored["rows"] = [{"model": "a"}]
    recipe = codec.from_json(stored)
    assert recipe.options == {}
    assert get_method("ties").check_options(recipe.options)["density"] == 1.0
    assert '"method":"ties","options":{},' in codec.canonical(recipe)
    assert codec.to_json(recipe)["options"] == {}
    assert get_method("ties").new_options() == {"density": 0.2}
    assert codec.canonical(
        codec.from_json(stored | {"options": {"density": 0.2}})
    ) != codec.canonical(recipe)


def test_what_a_new_mix_starts_with_is_valid():
    for method in all_methods().values():
        chosen = method.check_options(method.new_options())
        assert chosen.keys() == {p.name for p in method.params}
