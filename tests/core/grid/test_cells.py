from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import RecipeError
from orthomerge_core.grid.cells import MAX_CELLS, Grid, make_grid, parse_axis
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.recipe import codec
from orthomerge_core.recipe.model import ModelRef, Recipe, Row, TextureBoost

RECIPE = Recipe(
    base="base.safetensors",
    models={name: ModelRef(f"{name}.safetensors") for name in ("ink", "ink.fine", "paint")},
    rows=(
        Row("ink", alpha=0.8),
        Row("ink.fine", delta_from="ink", layers="blocks.0=0.5"),
        Row("paint", enabled=False),
    ),
    method="orthomerge",
    options={"damping": 0.01},
)


def settings(phrase: str, recipe: Recipe = RECIPE) -> list:
    """(label, setting) of the cells of a grid with one axis, in the order of the picture."""
    cells = sorted(make_grid(recipe, [phrase]).cells, key=lambda cell: cell.place)
    return [(cell.labels[0], cell.setting) for cell in cells]


def test_alpha_of_one_row_and_of_all():
    one = settings("ink.alpha = 0, 1")
    assert [s.recipe.rows[0].alpha for _, s in one] == [0.0, 1.0]
    assert {s.recipe.rows[1].alpha for _, s in one} == {1.0}
    both = settings("alpha = 50 %")
    assert [row.alpha for row in both[0][1].recipe.rows] == [0.5, 0.5, 0.5]


def test_a_model_whose_name_holds_a_dot_is_found_first():
    _, setting = settings("ink.fine.alpha = 0.25")[0]
    assert [row.alpha for row in setting.recipe.rows] == [0.8, 0.25, 1.0]


def test_strength_scales_the_whole_change():
    found = settings("strength = 0, 0.5")
    assert [s.recipe.strength for _, s in found] == [0.0, 0.5]
    assert all(s.recipe.rows == RECIPE.rows for _, s in found)


def test_each_method_with_its_own_defaults():
    found = settings("method = each")
    assert [label for label, _ in found] == list(all_methods())
    by_name = {s.recipe.method: s.recipe.options for _, s in found}
    assert by_name["orthomerge"] == {"damping": 0.01}
    assert by_name["average"] == {}


def test_an_option_of_the_method():
    found = settings("theta_agg = each")
    assert [label for label, _ in found] == ["mean", "median", "max", "sum"]
    assert found[1][1].recipe.options == {"damping": 0.01, "theta_agg": "median"}
    flags = settings("conflict_aware = off, on")
    assert [s.recipe.options["conflict_aware"] for _, s in flags] == [False, True]


def test_leave_one_out_and_one_at_a_time():
    found = settings("models = each")
    assert [label for label, _ in found] == ["all", "without ink", "without ink.fine"]
    enabled = [[row.enabled for row in s.recipe.rows] for _, s in found]
    assert enabled == [[True, True, False], [False, True, False], [True, False, False]]
    alone = settings("only = ink")
    assert [row.enabled for row in alone[0][1].recipe.rows] == [True, False, False]


def test_each_parent_makes_no_circle():
    found = settings("ink.delta_from = each")
    assert [label for label, _ in found] == ["base", "paint"]  # ink.fine follows ink
    free = settings("paint.delta_from = each")
    assert [label for label, _ in free] == ["base", "ink", "ink.fine"]


def test_a_layer_pattern_goes_before_the_weights_that_are_there():
    found = settings("ink.fine.layers[blocks.0-9] = 0, 1")
    assert found[0][1].recipe.rows[1].layers == "blocks.0-9=0, blocks.0=0.5"
    everywhere = settings("layers[*attn*] = 0.5")
    assert everywhere[0][1].recipe.rows[0].layers == "*attn*=0.5"
    with_equals = settings("layers[a=b] = 1")
    assert with_equals[0][1].recipe.rows[0].layers == "a=b=1"


def test_texture_repeat_switch_and_dtype():
    textured = replace(RECIPE, texture_boost=TextureBoost("paint", 0.1))
    assert settings("texture = 0.3", textured)[0][1].recipe.texture_boost.alpha == 0.3
    assert settings("ink.repeat = 2")[0][1].recipe.rows[0].repeat == 2
    assert settings("paint.on = on")[0][1].recipe.rows[2].enabled
    assert settings("output_dtype = fp16")[0][1].recipe.output_dtype == "fp16"


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("alpha", 'axis "alpha" has no "="'),
        ("alpah = 1", 'nothing is called "alpah". Did you mean "alpha"?'),
        ("ink.alhpa = 1", 'a row has no field "alhpa". Did you mean "alpha"?'),
        ("ink.alpha = 7", "expected numbers in -5..5, received 7"),
        ("method = slrep", 'unknown value "slrep". Did you mean "slerp"?'),
        ("theta_agg = mode", 'option "theta_agg": expected one of mean, median, max, sum'),
        ("damping = a", 'expected a finite number, received "a"'),
        ("models = paint", 'no enabled row of "paint"'),
        ("ink.delta_from = ink.fine", 'unknown value "ink.fine"'),
        ("texture = 0.1", "the recipe has no texture model"),
        ("density = 1", 'nothing is called "density"'),
    ],
)
def test_a_phrase_that_cannot_be_understood_is_named(phrase: str, words: str):
    with pytest.raises(RecipeError) as caught:
        make_grid(RECIPE, [phrase])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("phrases", "words"),
    [
        ([], "expected 1 to 3 axes, received 0"),
        (["alpha=0,1"] * 2, 'two axes set "alpha"'),
        (["alpha=0..1/64", "ink.repeat=1,2,3", "damping=0,0.1"], f"at most {MAX_CELLS} cells"),
        (["a=1", "b=1", "c=1", "d=1"], "nothing is called"),
    ],
)
def test_too_few_and_too_many(phrases: list[str], words: str):
    with pytest.raises(RecipeError, match=words):
        make_grid(RECIPE, phrases)


def changes(grid: Grid) -> Counter:
    """How often each axis changes from one cell to the next."""
    found: Counter = Counter()
    for before, after in zip(grid.cells, grid.cells[1:], strict=False):
        moved = [
            i for i, (a, b) in enumerate(zip(before.place, after.place, strict=True)) if a != b
        ]
        assert len(moved) == 1
        assert abs(before.place[moved[0]] - after.place[moved[0]]) == 1
        found[grid.axes[moved[0]].name] += 1
    return found


def test_the_costly_axis_changes_least_whatever_it_is_drawn_on():
    for phrases in (
        ["method = average, slerp", "strength = 0..1/4", "ink.alpha = 0, 0.5, 1"],
        ["strength = 0..1/4", "ink.alpha = 0, 0.5, 1", "method = average, slerp"],
    ):
        found = changes(make_grid(RECIPE, phrases))
        assert found["method"] == 1
        assert found["ink alpha"] == 4
        assert found["strength"] == 18


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_every_place_is_there_once(sizes: list[int]):
    names = ("ink.alpha", "damping", "ink.repeat")
    scale = (1.0, 0.1, 1.0)
    counts = [min(size, 3) if name == "ink.repeat" else size for name, size in zip(names, sizes)]  # noqa: B905  fewer sizes than names
    phrases = [
        f"{name} = " + ", ".join(f"{(i + 1) * step:g}" for i in range(count))
        for name, count, step in zip(names, counts, scale)  # noqa: B905  as above
    ]
    grid = make_grid(RECIPE, phrases)
    assert grid.shape == tuple(counts)
    changes(grid)
    places = {cell.place for cell in grid.cells}
    assert len(places) == len(grid.cells) == len({cell.labels for cell in grid.cells})
    shown = [cell for _, rows in grid.pages() for row in rows for cell in row]
    assert None not in shown
    assert {cell.place for cell in shown if cell} == places


def test_the_whole_grid_as_json_gives_the_recipes_back():
    grid = make_grid(RECIPE, ["ink.alpha = 0, 1", "method = average, orthomerge"])
    told = grid.to_json()
    assert [axis["name"] for axis in told["axes"]] == ["ink alpha", "method"]
    for cell, shown in zip(grid.cells, told["cells"], strict=True):
        assert codec.from_json(shown["recipe"]) == cell.setting.recipe
        assert shown["labels"] == list(cell.labels)
    assert grid.cells[0].caption(grid.axes) == "ink alpha 0 · method average"


def test_an_axis_keeps_the_order_it_was_written_in():
    assert parse_axis("ink.alpha = 1, 0, 0.5", RECIPE).labels == ("1", "0", "0.5")
