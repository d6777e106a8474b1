from itertools import pairwise

import pytest

from orthomerge_core.recipe.check import find_cycle, problems, row_problems
from orthomerge_core.recipe.model import ModelRef, Recipe, Row, TextureBoost

MODELS = {name: ModelRef(f"{name}.safetensors") for name in ("detail", "flash", "anime")}


def recipe(*rows: Row, **fields: object) -> Recipe:
    return Recipe(base="b", models=MODELS, rows=rows, **fields)


def test_a_sound_recipe_has_no_problems():
    assert problems(recipe(Row("detail"), Row("flash", "detail"), Row("detail", "base"))) == []


@pytest.mark.parametrize(
    ("rows", "index", "says"),
    [
        ((Row("detial"),), 0, 'row 1: no model "detial" in the set. Did you mean "detail"?'),
        ((Row("flash"), Row("detail", "flsh")), 1, 'row 2: delta_from "flsh"'),
        ((Row("flash", layers="nope"),), 0, 'row 1, layers: "nope" is not a pair'),
        ((Row("flash", "flash"),), 0, "in a circle, flash → flash"),
        (
            (Row("anime"), Row("flash", "detail"), Row("detail", "flash")),
            1,
            "row 2: delta_from goes in a circle, flash → detail → flash",
        ),
    ],
)
def test_each_problem_names_its_row(rows, index: int, says: str):
    found = row_problems(recipe(*rows))
    assert len(found) == 1
    assert found[0][0] == index
    assert says in str(found[0][1])


def test_rows_that_are_off_are_not_judged():
    assert (
        problems(recipe(Row("nobody", enabled=False), Row("flash", "flash", enabled=False))) == []
    )


def test_all_problems_are_collected():
    found = problems(recipe(Row("a"), Row("b"), texture_boost=TextureBoost("c", 0.1)))
    assert [str(p).split(":")[0] for p in found] == ["row 1", "row 2", "texture_boost"]


@pytest.mark.parametrize(
    ("parent", "says"),
    [
        ("flahs", 'delta_from "flahs" of "detail" is not in the set. Did you mean "flash"?'),
        ("detail", '"detail" is measured from itself. Set delta_from of its row to base.'),
    ],
)
def test_a_row_that_is_off_must_still_tell_the_texture_where_from(parent: str, says: str):
    row, boost = Row("detail", parent, enabled=False), TextureBoost("detail", 0.1)
    (found,) = problems(recipe(row, texture_boost=boost))
    assert str(found).startswith("texture_boost") and says in str(found)
    assert problems(recipe(row)) == []


def test_labels_are_told_apart_whatever_the_models_are_called():
    rows = (Row("a"), Row("a"), Row("a #2"), Row("a"), Row("a #2"))
    assert recipe(*rows).labels() == ("a", "a #3", "a #2", "a #4", "a #2 #2")


def test_cycle_search_does_not_explode_on_many_paths():
    layers = {f"{i}{s}": (f"{i + 1}a", f"{i + 1}b") for i in range(100) for s in "ab"}
    assert find_cycle(layers) == ()
    assert find_cycle(layers | {"100a": ("50b",)}) != ()


def test_used_models_and_labels():
    r = recipe(
        Row("flash", "detail"),
        Row("anime", alpha=0.0),
        Row("flash", alpha=0.5),
        texture_boost=TextureBoost("anime", 0.1),
    )
    assert r.used_models() == ("flash", "detail", "anime")
    assert r.labels() == ("flash", "flash #2")


def test_a_cycle_of_ten_thousand_is_found_without_recursion():
    names = [f"m{n}" for n in range(10_000)]
    chain = {name: (parent,) for name, parent in pairwise(names)}
    assert find_cycle(chain) == ()
    assert find_cycle(chain | {names[-1]: ("m0",)}) == (*names, "m0")


def test_every_model_is_left_once():
    """A ladder of diamonds has 2^60 paths."""
    parents = {f"m{n}": (f"m{n + 1}", f"n{n + 1}") for n in range(60)}
    parents |= {f"n{n}": (f"m{n + 1}", f"n{n + 1}") for n in range(60)}
    assert find_cycle(parents) == ()
    assert find_cycle(parents | {"m60": ("n60",), "n60": ("m60",)})[-3:] == ("m60", "n60", "m60")
