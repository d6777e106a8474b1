"""Notes as data: templates, plurals, lists, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from orthomerge_core import messages
from orthomerge_core.messages import TEMPLATES, Message, texts

CORE = Path(messages.__file__).parent


def test_the_sentence_comes_from_the_table_and_json_holds_all_three():
    message = Message("merge.averaged", {"count": 3, "reason": "they are not matrices"})
    assert str(message) == "3 tensors were averaged, since they are not matrices."
    assert message.to_json() == {
        "code": "merge.averaged",
        "values": {"count": 3, "reason": "they are not matrices"},
        "text": str(message),
    }
    assert json.loads(json.dumps(message.to_json(), allow_nan=False)) == message.to_json()
    assert texts([message, message]) == [str(message)] * 2


def test_one_is_singular():
    message = Message("merge.averaged", {"count": 1, "reason": "it is no matrix"})
    assert str(message) == "1 tensor was averaged, since it is no matrix."


@pytest.fixture
def with_list(monkeypatch):
    monkeypatch.setattr(
        messages, "TEMPLATES", dict(TEMPLATES) | {"test.list": "Missing: {keys:names}."}
    )


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (["a"], "a"),
        (list("abcde"), "a, b, c, d, e"),
        (list("abcdefg"), "a, b, c, d, e and 2 more"),
    ],
)
def test_a_list_shows_its_first_five_names(with_list, keys, shown):
    assert str(Message("test.list", {"keys": keys})) == f"Missing: {shown}."
    assert Message("test.list", {"keys": tuple(keys)}) == Message("test.list", {"keys": keys})


def test_equal_messages_are_one_in_a_set_and_values_cannot_change():
    first = Message("merge.averaged", {"count": 1, "reason": "x"})
    second = Message("merge.averaged", {"count": 1, "reason": "x"})
    assert len({first, second, Message("merge.no_row")}) == 2
    with pytest.raises(TypeError):
        first.values["count"] = 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("code", "values", "said"),
    [
        ("merge.unheard", {}, 'no message has the code "merge.unheard"'),
        ("merge.averaged", {"count": 1}, "message \"merge.averaged\" needs the value 'reason'"),
        (
            "merge.averaged",
            {"count": float("nan"), "reason": "x"},
            "the value count of a message is not finite",
        ),
        (
            "merge.averaged",
            {"count": 1, "reason": object()},
            "the value reason of a message is no JSON: object",
        ),
    ],
)
def test_a_message_that_cannot_be_worded_is_refused_where_it_is_made(code, values, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Message(code, values)


def test_templates_are_sorted_sentences():
    assert list(TEMPLATES) == sorted(TEMPLATES)
    for code, template in TEMPLATES.items():
        assert re.fullmatch(r"[a-z]+(\.[a-z0-9_]+)+", code), code
        assert template.endswith((".", "!", "?")), code


def test_every_code_in_the_source_has_a_template():
    used = set()
    for path in CORE.rglob("*.py"):
        used |= set(re.findall(r'Message\(\s*"([^"]+)"', path.read_text(encoding="utf-8")))
    used.discard("group.code")
    assert used <= set(TEMPLATES)
