"""Recipes of sd-mecha that say something our table can say."""

from __future__ import annotations

import json
from pathlib import PureWindowsPath
from typing import Any

from ..errors import RecipeError, UnsupportedError
from ..recipe.codec import from_json, to_json
from ..recipe.model import BASE, ModelRef, Recipe, Row
from .method import METHOD, register

__all__ = ["recipe_from_text"]

_KNOWN = (
    f"{METHOD}, weighted_sum, add_difference, subtract, n_average, scale, slerp, ties_sum, "
    "model_stock, geometric_median, fallback"
)
_RANDOM = ("dropout", "ties_sum_with_dropout")


def recipe_from_text(text: str) -> Recipe:
    """Read `.mecha` text: our own method, what is linear in models, SLERP of two models, and TIES,
    Model Stock or a geometric median of differences that are added to a model.

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


_Row = tuple[str, str, float]
"""(model, parent, alpha): alpha (model − parent)."""


class _Reader:
    """Walks a graph from its result to its models.

    A node in weight space is read as (base, rows), W = base + Σ alpha (model − parent): sums with
    weights that add up to one stay of that form whatever their nesting. A node in delta space is
    read as rows alone.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.method = "task_arithmetic"
        self.options: dict[str, Any] = {}

    def read(self, node: Any) -> Recipe:
        """The recipe of a graph whose result is a model."""
        if _name(node) == METHOD:
            return from_json(json.loads(_value(_argument(node, "recipe"))))
        base, rows = self._slerp(node) if _name(node) == "slerp" else self._weights(node)
        models = {n: ModelRef(f) for n, f in self.files.items() if n != base}
        table = tuple(
            Row(m, BASE if p == base else p, alpha)
            if m != base
            else Row(p, BASE, -alpha)  # α (B − P) = −α (P − B)
            for m, p, alpha in rows
            if alpha != 0.0
        )
        made = Recipe(self.files[base], models, table, method=self.method, options=self.options)
        return from_json(to_json(made))  # what a table cannot hold is refused by its own rules

    def _weights(self, node: Any) -> tuple[str, list[_Row]]:
        """(name of the base, rows) of a node in weight space."""
        kind = _name(node)
        if kind == "model":
            return self._model(node), []
        if kind == "fallback":
            return self._weights(_argument(node, 0))
        if kind == "add_difference":
            base, rows = self._weights(_argument(node, "a"))
            alpha = _number(_argument(node, "alpha"))
            return base, [*rows, *self._added(_argument(node, "b"), alpha, bool(rows))]
        if kind == "weighted_sum":
            alpha = _number(_argument(node, "alpha"))
            parts = [(_argument(node, "a"), 1.0 - alpha), (_argument(node, "b"), alpha)]
            return self._mixed(parts)
        if kind == "n_average":
            inputs = node.bound_args.args
            return self._mixed([(x, 1.0 / len(inputs)) for x in inputs])
        raise _no_place(kind)

    def _mixed(self, parts: list[tuple[Any, float]]) -> tuple[str, list[_Row]]:
        """Σ weight · part, the weights adding up to one; the first part's base is the base."""
        read = [(self._weights(node), weight) for node, weight in parts]
        base = read[0][0][0]
        rows: list[_Row] = []
        for (own, inner), weight in read:
            rows += [(own, base, weight)] if own != base else []
            rows += _scaled(inner, weight)
        return base, rows

    def _slerp(self, node: Any) -> tuple[str, list[_Row]]:
        a, b = (self._model(_argument(node, which)) for which in "ab")
        self.method = "slerp"
        return a, [(b, a, _number(_argument(node, "alpha")))]

    def _added(self, node: Any, alpha: float, more: bool) -> list[_Row]:
        """Rows of α · (a node in delta space) that is added to a model.

        TIES, Model Stock and the geometric median of α δ are α times those of δ.
        """
        reader = {
            "ties_sum": self._ties,
            "model_stock": self._stock,
            "geometric_median": self._median,
        }.get(_name(node))
        if reader is None:
            return _scaled(self._deltas(node), alpha)
        if more or self.method != "task_arithmetic":
            raise _no_place(f"{_name(node)} beside other changes")
        reader(node)
        inner = [self._deltas(x) for x in node.bound_args.args]
        if any(len(rows) != 1 for rows in inner):
            raise _no_place(f"{_name(node)} of merges")
        return _scaled([rows[0] for rows in inner], alpha)

    def _ties(self, node: Any) -> None:
        self.method = "ties"
        self.options = {
            "density": _number(_argument(node, "k")),
            "vote_by_size": bool(_value(_argument(node, "vote_sgn"))),
        }

    def _stock(self, node: Any) -> None:
        _only_default(node, "cos_eps")
        self.method = "model_stock"

    def _median(self, node: Any) -> None:
        _only_default(node, "eps", "ftol")
        self.method = "geometric_median"
        self.options = {"iterations": int(_number(_argument(node, "maxiter")))}

    def _deltas(self, node: Any) -> list[_Row]:
        """Rows of a node in delta space."""
        kind = _name(node)
        if kind == "subtract":
            (a, plus), (b, minus) = (self._weights(_argument(node, which)) for which in "ab")
            own = [(a, b, 1.0)] if a != b else []
            return [*own, *plus, *_scaled(minus, -1.0)]
        if kind == "scale":
            return _scaled(self._deltas(_argument(node, 0)), _number(_argument(node, 1)))
        if kind == "n_average":
            inputs = node.bound_args.args
            return [r for x in inputs for r in _scaled(self._deltas(x), 1.0 / len(inputs))]
        raise _no_place(kind)

    def _model(self, node: Any) -> str:
        """The name of a model node (behind its fallback), noting its file."""
        while _name(node) == "fallback":
            node = _argument(node, 0)
        if _name(node) != "model":
            raise _no_place(_name(node))
        file = PureWindowsPath(str(node.path)).name  # either separator
        stem = PureWindowsPath(file).stem
        name = file if self.files.get(stem, file) != file or stem == BASE else stem
        self.files[name] = file
        return name


def _scaled(rows: list[_Row], factor: float) -> list[_Row]:
    return [(model, parent, alpha * factor) for model, parent, alpha in rows]


def _only_default(node: Any, *names: str) -> None:
    """A parameter that our table does not have must be as sd-mecha has it."""
    defaults = node.merge_method.get_default_args().kwargs
    for name in names:
        if _number(_argument(node, name)) != defaults[name]:
            raise _no_place(f'{_name(node)} with its own "{name}"')


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
    if what in _RANDOM:
        return RecipeError(
            f"this .mecha recipe uses {what}, whose random masks sd-mecha draws in its own way",
            expected=f"only {_KNOWN}",
            fix="Run it with sd-mecha, or choose dare or della here for masks of our own.",
        )
    return RecipeError(
        f"this .mecha recipe uses {what}, which has no place in a table of rows",
        expected=f"only {_KNOWN}",
        fix="Run it with sd-mecha and use its result as a model.",
    )
