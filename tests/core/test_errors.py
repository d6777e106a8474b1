"""Messages hold only what every log and terminal can show, whatever input they repeat."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import (
    FileError,
    OrthoMergeError,
    PlanError,
    RecipeError,
    did_you_mean,
    is_showable,
    near_miss,
    quoted,
    shown_value,
)

ANY_TEXT = st.text(st.characters(codec=None))  # surrogates included


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\ud800", "\\ud800"),
        ("a\nb", "a\\x0ab"),
        ("bad\udcff.safetensors", "bad\\xff.safetensors"),
        ("\x00\x1b[31m", "\\x00\\x1b[31m"),
        ("\x85", "\\x85"),
        ("\u2028", "\\u2028"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("\u2067", "\\u2067"),
        ("猫 é 🐈", "猫 é 🐈"),
    ],
)
def test_unshowable_characters_are_escaped(text, shown):
    assert quoted(text) == shown
    assert is_showable(text) == (text == shown)


def test_long_text_keeps_both_ends():
    shown = quoted("a" * 5_000_000 + ".safetensors")
    assert len(shown) == 200
    assert shown.startswith("aaa") and "…" in shown and shown.endswith(".safetensors")


@given(ANY_TEXT, st.integers(8, 300))
def test_quoted_is_short_showable_and_settled(text, limit):
    shown = quoted(text, limit)
    assert len(shown) <= limit and is_showable(shown)
    assert quoted(shown, limit) == shown
    shown.encode()


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_message_holds_what_cannot_be_logged(what, expected, received, fix):
    error = RecipeError(what, expected=expected, received=received, fix=fix)
    str(error).encode()
    assert is_showable(str(error))
    for line in str(PlanError([error, FileError(what), error])).split("\n"):
        assert is_showable(line)


def test_no_message_repeats_a_megabyte():
    long = "x" * 10**6
    error = RecipeError(
        f'no model "{long}"', expected=long, received=long, fix=did_you_mean(long, [long])
    )
    assert len(str(error)) < 1500
    assert f'no model "{"x" * 133}…{"x" * 66}"' in str(error)
    assert len(str(PlanError([error] * 10_000))) < 80_000


def test_a_long_word_is_not_compared_for_a_near_miss(monkeypatch):
    def counted(*_: object, **__: object) -> list[str]:
        raise AssertionError("compared")

    monkeypatch.setattr("orthomerge_core.errors.get_close_matches", counted)
    assert did_you_mean("x" * 1000, ["x" * 999]).startswith("Valid: ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", '"a\\x0ab"'),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        pytest.param(10**5000, "a number of more than 60 digits", id="long"),
        ([1, 2], "a list of 2"),
        ({}, "{}"),
        ({"a": 1}, "an object of 1 fields"),
    ],
)
def test_shown_value(value, shown):
    assert shown_value(value) == shown


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    )
)
def test_shown_value_takes_any_json(value):
    shown = shown_value(value)
    assert is_showable(shown) and len(shown) <= 82 + 20
    json.dumps(shown).encode()


def test_the_tree_says_one_module():
    assert OrthoMergeError("x").args == ("x.",)
    assert (
        str(RecipeError("x", expected=1, received=2, fix="Do.")) == "x: expected 1, received 2. Do."
    )
    assert RecipeError.__module__ == OrthoMergeError.__module__ == "orthomerge"


def test_a_near_miss_alone():
    assert near_miss("averages", ["average", "slerp"]) == 'Did you mean "average"?'
    assert near_miss("averages", ["slerp"]) == near_miss(None, ["slerp"]) == ""
    assert near_miss("x" * 100_000, ["x" * 99_999]) == ""
