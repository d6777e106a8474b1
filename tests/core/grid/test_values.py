import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import RecipeError
from orthomerge_core.grid.values import MAX_VALUES, number_of, split_values


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0, 0.25, 0.5", ["0", "0.25", "0.5"]),
        ("average,\nslerp", ["average", "slerp"]),
        ("0..1 step 0.25", ["0", "0.25", "0.5", "0.75", "1"]),
        ("0..1:0.5", ["0", "0.5", "1"]),
        ("0..1/5", ["0", "0.25", "0.5", "0.75", "1"]),
        ("1..3", ["1", "2", "3"]),
        ("1..0 step -0.5", ["1", "0.5", "0"]),
        ("0..50% step 25%", ["0", "0.25", "0.5"]),
        ("0..0.3 step 0.1, 1", ["0", "0.1", "0.2", "0.3", "1"]),
        ("0..1/4", ["0", "0.333333", "0.666667", "1"]),
        ("-0.5..0.5/3", ["-0.5", "0", "0.5"]),
    ],
)
def test_lists_and_ranges_are_written_out(text: str, found: list[str]):
    assert split_values(text, "alpha") == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" , ", 'axis "alpha" has no values'),
        ("0..", '"0.." is not a range'),
        ("0..1 step -1", "never reaches its end. Use a step above 0."),
        ("1..0 step 1", "never reaches its end. Use a step below 0."),
        ("0..1 step 0", "never reaches its end"),
        ("0..1/1", "expected a whole number in 2..64, received 1"),
        ("0..1/" + "9" * 5000, "expected a whole number in 2..64"),
        ("0..1 step 0.0001", "at most 64, received 10001"),
        ("a..b", 'expected a finite number, received "a"'),
        ("0..1e400", "expected a finite number"),
        (", ".join(["1"] * 65), "has too many values"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, words: str):
    with pytest.raises(RecipeError) as caught:
        split_values(text, "alpha")
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("50 %", 0.5), ("-1e-4", -0.0001)])
def test_numbers_and_percentages(text: str, value: float):
    assert number_of(text, "alpha") == value


@pytest.mark.parametrize("text", ["nan", "inf", "1" + "0" * 400, "0x10", "", "1e999999999"])
def test_a_value_that_is_no_number_is_named(text: str):
    with pytest.raises(RecipeError, match="expected a finite number"):
        number_of(text, "alpha")


@given(start=st.integers(-50, 50), step=st.integers(1, 20), count=st.integers(1, MAX_VALUES))
def test_a_range_holds_every_step_and_both_ends(start: int, step: int, count: int):
    stop = start + step * (count - 1)
    text = f"{start / 100}..{stop / 100} step {step / 100}"
    found = [round(float(word) * 100) for word in split_values(text, "x")]
    assert found == list(range(start, stop + 1, step))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_by_name(text: str):
    try:
        found = split_values(text, "x")
    except RecipeError:
        return
    assert 1 <= len(found) <= MAX_VALUES
