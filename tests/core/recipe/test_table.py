from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import RecipeError
from orthomerge_core.recipe.check import row_problems
from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from orthomerge_core.recipe.table import (
    MAX_ROWS,
    Table,
    effective_rows,
    method_options,
    parse_table,
)

CASES = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "table_cases.json").read_text(encoding="utf-8")
)


def proposal_of(case):
    return tuple(Row(**row) for row in CASES["proposals"].get(case.get("proposal"), ()))


def text_of(table):
    return table if isinstance(table, str) else json.dumps(table)


def short(row):
    return [row.model, row.delta_from, row.alpha, row.enabled, row.repeat, row.layers]


@pytest.mark.parametrize("case", CASES["effective"], ids=lambda c: c["name"])
def test_effective_rows(case):
    rows = effective_rows(
        parse_table(text_of(case["table"])), proposal_of(case), case.get("names", ())
    )
    assert [short(row) for row in rows] == case["rows"]


@pytest.mark.parametrize("case", CASES["errors"], ids=lambda c: c["name"])
def test_errors_name_row_and_column(case):
    with pytest.raises(RecipeError) as caught:
        parse_table(text_of(case["table"]))
    assert case["text"] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", CASES["problems"], ids=lambda c: c["name"])
def test_the_core_refuses_the_rows_that_the_browser_marks_as_wrong(case):
    rows = tuple(Row(m, parent, alpha, on) for m, parent, alpha, on in case["rows"])
    models = {name: ModelRef(f"{name}.safetensors") for name in case["names"]}
    found = {row for row, _ in row_problems(Recipe("base.safetensors", models, rows))}
    marked = {row for row, _, severity in case["problems"] if severity == "error" and row >= 0}
    assert found <= marked and bool(found) == bool(marked)  # of a cycle one row is named


def test_too_many_rows():
    with pytest.raises(RecipeError, match=f"at most {MAX_ROWS} rows, received 10000"):
        parse_table(json.dumps({"rows": [{"model": "a"}] * 10_000}))


def test_deep_nesting_is_a_named_error():
    with pytest.raises(RecipeError, match="table is not JSON"):
        parse_table("[" * 100_000)
    with pytest.raises(RecipeError, match="table is not JSON"):
        parse_table('{"version": ' + "1" * 5000 + "}")


def test_unknown_fields_survive_and_marks_do_not():
    table = parse_table(
        '{"rows": [{"model": "a", "alpha": 2, "info": "x", "hue": 3}], "theme": 1, "removed": []}'
    )
    assert table.extra == {"theme": 1}
    row = table.rows[0].row
    assert dict(row.extra) == {"hue": 3} and row.info == "" and table.rows[0].touched == ("alpha",)


def test_touched_row_keeps_the_reason_of_the_proposal():
    table = parse_table('{"rows": [{"model": "a", "alpha": 2}]}')
    assert effective_rows(table, (Row("a", info="why"),), ("a",))[0].info == "why"


def test_options_belong_to_their_method():
    table = parse_table('{"options": {"orthomerge": {"damping": 0.1}, "slerp": {}}}')
    assert method_options(table, "orthomerge") == {"damping": 0.1}
    assert method_options(table, "average") == {}


rows = st.builds(
    dict,
    model=st.sampled_from("abcdx"),
    alpha=st.integers(-5, 5),
    touched=st.sampled_from([[], ["alpha"]]),
)


@given(st.lists(rows, max_size=6), st.booleans(), st.lists(st.sampled_from("abcd"), max_size=3))
def test_nothing_is_lost_or_doubled(items, ordered, removed):
    proposal = tuple(Row(name, info=name) for name in "abcd")
    text = json.dumps({"rows": items, "ordered": ordered, "removed": removed})
    result = effective_rows(parse_table(text), proposal, "abcd")
    wanted = [item["model"] for item in items]
    wanted += [n for n in "abcd" if n not in removed and n not in wanted]
    assert sorted(row.model for row in result) == sorted(wanted)
    if ordered:
        assert [row.model for row in result[: len(items)]] == [item["model"] for item in items]
    if not items and not removed:
        assert result == proposal


def test_empty_table_is_the_default():
    assert parse_table("") == parse_table("  \n") == Table()
