"""Recipes of sd-mecha that say something our table can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import RecipeError, UnsupportedError
from ..recipe.codec import from_json
from ..recipe.model import BASE, ModelRef, Recipe, Row
from .method import METHOD, register

__all__ = ["recipe_from_text"]

_KNOWN = f"{METHOD}, add_difference, weighted_sum, subtract, fallback, ties_sum"


def recipe_from_text(text: str) -> Recipe:
    """Read `.mecha` text: our own method, or sums of α (M − P) on one base, or TIES of such.

    Raises:
        RecipeError: the text is broken, or it uses what has no place in a table of rows.
        UnsupportedError: sd-mecha is not installed.
    """
    try:
        import sd_mecha
    except ImportError as error:
        raise UnsupportedError(
            "sd-mecha is not installed, so no .mecha recipe can be read",
            fix="Install it: pip install sd-mecha.",
        ) from error
    register()
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("version"):
        raise RecipeError(
            "this is no .mecha recipe",
            expected='"version …" in the first line',
            received=repr(lines[0][:40]) if lines else "nothing",
            fix="Pass the text that sd-mecha or this pack exported.",
        )
    try:
        node = sd_mecha.deserialize(lines)
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
        raise RecipeError(
            "sd-mecha cannot read this .mecha recipe",
            received=str(error).splitlines()[0][:200],
            fix="Export it again with the same version of sd-mecha.",
        ) from error
    return _Reader().read(node)


class _Reader:
    """Walks a graph from its result to its models."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.method = "task_arithmetic"
        self.options: dict[str, Any] = {}

    def read(self, node: Any) -> Recipe:
        """The recipe of a graph whose result is a model."""
        if _name(node) == METHOD:
            return from_json(json.loads(_value(_argument(node, "recipe"))))
        base, rows = self._weights(node)
        named = {file: name for name, file in self.files.items()}
        models = {n: ModelRef(f) for n, f in self.files.items() if f != base}
        known = {named[base]: BASE}
        table = tuple(
            Row(known.get(m, m), known.get(p, p), alpha) for m, p, alpha in rows if alpha != 0.0
        )
        return Recipe(base, models, table, method=self.method, options=self.options)

    def _weights(self, node: Any) -> tuple[str, list[tuple[str, str, float]]]:
        """(base file, rows) of a node in weight space."""
        kind = _name(node)
        if kind == "model":
            name = self._model(node)
            return self.files[name], []
        if kind == "fallback":
            return self._weights(_argument(node, 0))
        if kind == "add_difference":
            base, rows = self._weights(_argument(node, "a"))
            alpha = _number(_argument(node, "alpha"))
            return base, [*rows, *self._deltas(_argument(node, "b"), alpha, bool(rows))]
        if kind == "weighted_sum":
            base, rows = self._weights(_argument(node, "a"))
            if rows:
                raise _no_place("weighted_sum of a merge")
            name = next(n for n, f in self.files.items() if f == base)
            alpha = _number(_argument(node, "alpha"))
            return base, [(self._model(_argument(node, "b")), name, alpha)]
        raise _no_place(kind)

    def _deltas(self, node: Any, alpha: float, more: bool) -> list[tuple[str, str, float]]:
        """Rows of a node in delta space."""
        kind = _name(node)
        if kind == "subtract":
            return [(self._model(_argument(node, "a")), self._model(_argument(node, "b")), alpha)]
        if kind == "ties_sum" and not more and alpha == 1.0:
            self.method = "ties"
            self.options = {
                "density": _number(_argument(node, "k")),
                "vote_by_size": bool(_value(_argument(node, "vote_sgn"))),
            }
            inner = [x for x in node.bound_args.args if _name(x) == "subtract"]
            return [row for x in inner for row in self._deltas(x, 1.0, False)]
        raise _no_place(kind)

    def _model(self, node: Any) -> str:
        """The name of a model node (behind its fallback), noting its file."""
        while _name(node) == "fallback":
            node = _argument(node, 0)
        if _name(node) != "model":
            raise _no_place(_name(node))
        file = Path(str(node.path)).name
        stem = Path(file).stem
        name = file if self.files.get(stem, file) != file or stem == BASE else stem
        self.files[name] = file
        return name


def _name(node: Any) -> str:
    if hasattr(node, "merge_method"):
        return str(node.merge_method.get_identifier())
    return "model" if hasattr(node, "path") else "literal"


def _argument(node: Any, which: str | int) -> Any:
    if isinstance(which, int):
        return node.bound_args.args[which]
    return node.bound_args.arguments[which]


def _value(node: Any) -> Any:
    while _name(node) == "convert_singleton":
        node = _argument(node, 0)
    if _name(node) != "literal" or set(node.value_dict) != {"key"}:
        raise _no_place("a value that differs from key to key")
    return node.value_dict["key"]


def _number(node: Any) -> float:
    return float(_value(node))


def _no_place(what: str) -> RecipeError:
    return RecipeError(
        f"this .mecha recipe uses {what}, which has no place in a table of rows",
        expected=f"only {_KNOWN}",
        fix="Run it with sd-mecha and use its result as a model.",
    )
