"""Changes to the inputs of an API workflow, also inside a JSON text such as the mixer's table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..errors import RecipeError, did_you_mean
from ..recipe.codec import ROW_FIELDS

__all__ = ["find_node", "set_input"]

_EMPTY_TABLE = {"version": 1, "rows": []}


def set_input(graph: dict[str, Any], change: str) -> None:
    """Apply `NODE.INPUT=VALUE` or `NODE.INPUT.PLACE=VALUE` to an API workflow.

    NODE is an id, a title or a class. PLACE leads into an input whose text is JSON, by names of
    fields, numbers of items, or the model of a row: `OrthoMixer.table.rows.detail.alpha`.
    VALUE stays text where the present value is text; elsewhere it is read as JSON if it is JSON.

    Raises:
        RecipeError: the change cannot be understood, or the workflow has no such place.
    """
    place, separator, text = change.partition("=")
    if not separator or "." not in place:
        raise RecipeError(
            f'--set "{change[:80]}"', expected="NODE.INPUT=VALUE", fix="E.g. --set 3.seed=7."
        )
    name, node, rest = _find_node(graph, place)
    inputs = node.setdefault("inputs", {})
    field, _, path = rest.partition(".")
    if field not in inputs:
        raise RecipeError(
            f'node "{name}" has no input "{field}"', fix=did_you_mean(field, tuple(inputs))
        )
    if path:
        inputs[field] = _changed_text(inputs[field], path, text, f"{name}.{field}")
    else:
        inputs[field] = _value(inputs[field], text)


def _value(present: Any, text: str) -> Any:
    """The new value: text for text, else what the text means as JSON."""
    if isinstance(present, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _changed_text(present: Any, path: str, text: str, name: str) -> str:
    """The JSON text of an input with one place in it changed; an empty text is an empty table."""
    try:
        if not isinstance(present, str):
            raise ValueError
        root = json.loads(present) if present.strip() else json.loads(json.dumps(_EMPTY_TABLE))
    except ValueError:
        fix = f'Change it as a whole: --set "{name}=…".'
        raise RecipeError(f'input "{name}" holds no JSON text', fix=fix) from None
    _set_place(root, path.split("."), text, name)
    return json.dumps(root, ensure_ascii=False, separators=(",", ":"))


def _set_place(root: Any, words: list[str], text: str, name: str) -> None:
    """Walk to the last container of `words` and set its field there."""
    here, used = root, 0
    while used < len(words) - 1:
        for key, length in _readings(here, words[used:-1]):
            here, used = here[key], used + length
            break
        else:
            here, used = _new_row(here, words, used, name), len(words) - 1
    last = words[-1]
    if isinstance(here, list):
        if not last.isdigit() or int(last) >= len(here):
            raise _nowhere(name, last, [])
        here[int(last)] = _value(here[int(last)], text)
    elif not isinstance(here, dict):
        raise _nowhere(name, last, [])
    elif "model" in here and last in ROW_FIELDS:
        here[last] = _value(here.get(last), text)
        here["touched"] = list(dict.fromkeys([*here.get("touched", []), last]))
    elif last in here:
        here[last] = _value(here[last], text)
    else:
        raise _nowhere(name, last, [*here, *(ROW_FIELDS if "model" in here else ())])


def _readings(here: Any, words: list[str]) -> Iterator[tuple[str | int, int]]:
    """(key, number of words) of the children that `words` may mean, the longest name first.

    Names of models may hold dots, so several words can be one name.
    """
    for length in range(len(words), 0, -1):
        word = ".".join(words[:length])
        if isinstance(here, dict) and word in here:
            yield word, length
        elif isinstance(here, list):
            rows = [i for i, item in enumerate(here) if _model_of(item) == word]
            if not rows and word.isdigit() and int(word) < len(here):
                rows = [int(word)]
            if rows:
                yield rows[0], length


def _model_of(item: Any) -> Any:
    return item.get("model") if isinstance(item, dict) else None


def _new_row(here: Any, words: list[str], used: int, name: str) -> dict[str, Any]:
    """A row that a table does not hold yet, because it follows the optimizer's proposal."""
    model, missing = ".".join(words[used:-1]), words[used]
    in_rows = isinstance(here, list) and used > 0 and words[used - 1] == "rows"
    if not in_rows or words[-1] not in ROW_FIELDS or model.isdigit():
        raise _nowhere(name, missing, list(here) if isinstance(here, dict) else [])
    row: dict[str, Any] = {"model": model}
    here.append(row)
    return row


def _nowhere(name: str, word: str, known: list[str]) -> RecipeError:
    fix = did_you_mean(word, known) if known else "Check the place."
    return RecipeError(f'input "{name}" has no "{word}" at this place', fix=fix)


def find_node(graph: dict[str, Any], name: str) -> str:
    """The id of the one node with that id, title or class; raises `RecipeError`."""
    _, node, _ = _find_node(graph, f"{name}.x")
    return next(key for key, value in graph.items() if value is node)


def _find_node(graph: dict[str, Any], place: str) -> tuple[str, dict[str, Any], str]:
    """(name, node, rest) of `NODE.rest`; the longest name wins, since titles may hold dots."""
    words = place.split(".")
    for length in range(len(words) - 1, 0, -1):
        name, rest = ".".join(words[:length]), ".".join(words[length:])
        found = [graph[name]] if name in graph else _called(graph, name)
        if len(found) == 1:
            return name, found[0], rest
        if found:
            what = f'{len(found)} nodes are called "{name}"'
            raise RecipeError(what, fix="Name it by its id.")
    name = words[0]
    known = tuple(graph) + tuple(node["class_type"] for node in graph.values())
    raise RecipeError(f'no node "{name}" in the workflow', fix=did_you_mean(name, known))


def _called(graph: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [
        node
        for node in graph.values()
        if name in (node.get("class_type"), node.get("_meta", {}).get("title"))
    ]
