"""Converts recipes of sd-mecha to ours, where our table can express them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import PureWindowsPath
from typing import Any

from ..errors import RecipeError
from ..recipe.codec import from_json, loads, to_json
from ..recipe.model import BASE, MAX_ROWS, MERGE, ModelRef, Recipe, Row, VaeChoice
from .method import METHOD
from .steps import Ref, Step, parse_steps
from .values import PARAMETERS, Deltas, NoPlace, Rows, Slerp, Value, Weights, bound, no_place

__all__ = ["recipe_from_text"]

_MAX_WORK = 100_000


def recipe_from_text(text: str) -> Recipe:
    """Read `.mecha` text: our own method, what is linear in models, SLERP of two models, and TIES,
    Model Stock or a geometric median of differences that are added to a model.

    sd-mecha itself is not needed. Each step is evaluated once, in order, whatever refers to it.

    Raises:
        RecipeError: the text is broken or beyond its limits, or it uses what has no place in a
            table of rows.
    """
    return _Reader(parse_steps(text)).recipe()


class _Reader:
    """Evaluates the steps that the last one needs, the earliest first."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.files: dict[str, str] = {}
        self.method = "task_arithmetic"
        self.options: dict[str, Any] = {}
        self._done: dict[int, Any] = {}
        self._work = 0

    def recipe(self) -> Recipe:
        """The recipe of a text whose result is a model."""
        last = self.steps[-1]
        for number in _needed(self.steps):
            self._done[number] = self._evaluate(self.steps[number])
        if last.name == METHOD:
            return loads(str(self._value(bound(last)["recipe"])))
        found = self._done[len(self.steps) - 1]
        if isinstance(found, Slerp):
            self.method = "slerp"
            found = Weights(found.base, {(found.other, found.base): found.alpha})
        result = found if isinstance(found, Weights) else self._weights(found)
        base = result.base
        models = {n: ModelRef(f) for n, f in self.files.items() if n != base}
        table = tuple(
            Row(m, BASE if p == base else p, alpha)
            if m != base
            else Row(p, BASE, -alpha)  # α (B − P) = −α (P − B)
            for (m, p), alpha in result.chosen or result.rows.items()
            if alpha != 0.0
        )
        made = Recipe(
            self.files[base],
            models,
            table,
            method=self.method,
            options=self.options,
            vae=VaeChoice(MERGE),  # of checkpoints sd-mecha merges all components alike
        )
        return from_json(to_json(made))  # what a table cannot hold is refused by its own rules

    def _evaluate(self, step: Step) -> Any:
        if step.command == "model":
            return self._model(step.name)
        if step.command == "literal":
            return self._done[step.args[0]] if step.args and _is_ref(step.args[0]) else None
        if step.command == "dict":
            return Value(step.options["key"]) if set(step.options) == {"key"} else None
        if step.name == METHOD:
            return None
        reader = getattr(self, f"_read_{step.name}", None) if step.name in PARAMETERS else None
        if reader is None:
            return NoPlace(no_place(step.name))
        return reader(step)

    def _read_convert_singleton(self, step: Step) -> Any:
        return self._at(bound(step)["singleton"])

    def _read_fallback(self, step: Step) -> Any:
        return self._at(bound(step)["a"])

    def _read_add_difference(self, step: Step) -> Weights:
        given = bound(step)
        onto, alpha = self._weights(self._at(given["a"])), self._number(given["alpha"])
        added = self._at(given["b"])
        if isinstance(added, Deltas) and added.method:
            if onto.rows or self.method != "task_arithmetic":
                raise no_place(f"{added.method} beside other changes")
            return Weights(onto.base, chosen=self._chosen(added, alpha))
        return Weights(onto.base, self._sum([(onto.rows, 1.0), (self._deltas(added), alpha)]))

    def _chosen(self, added: Deltas, alpha: float) -> tuple[tuple[tuple[str, str], float], ...]:
        """TIES, Model Stock and the geometric median of α δ are α times those of δ."""
        if any(len(rows) != 1 for rows in added.inputs):
            raise no_place(f"{added.method} of merges")
        names = {"ties_sum": "ties"}
        self.method = names.get(added.method, added.method)
        self.options = dict(added.options)
        return tuple((pair, a * alpha) for rows in added.inputs for pair, a in rows.items())

    def _read_weighted_sum(self, step: Step) -> Weights:
        given = bound(step)
        alpha = self._number(given["alpha"])
        a, b = (self._weights(self._at(given[x])) for x in "ab")
        return self._mixed([(a, 1.0 - alpha), (b, alpha)])

    def _read_n_average(self, step: Step) -> Weights | Deltas:
        if not step.args:
            raise no_place("n_average of nothing")
        inputs = [self._at(x) for x in step.args]
        if isinstance(inputs[0], Deltas):
            return Deltas(self._sum([(self._deltas(x), 1.0 / len(inputs)) for x in inputs]))
        return self._mixed([(self._weights(x), 1.0 / len(inputs)) for x in inputs])

    def _read_subtract(self, step: Step) -> Deltas:
        given = bound(step)
        a, b = (self._weights(self._at(given[x])) for x in "ab")
        own: Rows = {(a.base, b.base): 1.0} if a.base != b.base else {}
        return Deltas(self._sum([(own, 1.0), (a.rows, 1.0), (b.rows, -1.0)]))

    def _read_scale(self, step: Step) -> Deltas:
        given = bound(step)
        rows = self._deltas(self._at(given["a"]))
        return Deltas(self._sum([(rows, self._number(given["alpha"]))]))

    def _read_slerp(self, step: Step) -> Slerp | NoPlace:
        given = bound(step)
        a, b = (self._weights(self._at(given[x])) for x in "ab")
        if a.rows or b.rows:
            return NoPlace(no_place("slerp of merges"))
        return Slerp(a.base, b.base, self._number(given["alpha"]))

    def _read_ties_sum(self, step: Step) -> Deltas:
        given = bound(step)
        options = {
            "density": self._number(given["k"]),
            "vote_by_size": bool(self._value(given["vote_sgn"])),
        }
        return self._special(step, options)

    def _read_model_stock(self, step: Step) -> Deltas:
        self._only_default(step, "cos_eps")
        return self._special(step, {})

    def _read_geometric_median(self, step: Step) -> Deltas:
        self._only_default(step, "eps", "ftol")
        return self._special(step, {"iterations": int(self._number(bound(step)["maxiter"]))})

    def _special(self, step: Step, options: Mapping[str, Any]) -> Deltas:
        inputs = tuple(self._deltas(self._at(x)) for x in step.args)
        return Deltas({}, step.name, options, inputs)

    def _only_default(self, step: Step, *names: str) -> None:
        """A parameter that our table does not have must be as sd-mecha has it."""
        given = bound(step)
        for name in names:
            if self._number(given[name]) != PARAMETERS[step.name][name]:
                raise no_place(f'{step.name} with its own "{name}"')

    def _at(self, value: Any) -> Any:
        """What a reference stands for; numbers and texts stand for themselves."""
        found = self._done[value] if _is_ref(value) else Value(value)
        if isinstance(found, NoPlace):
            raise found.error
        return found

    def _value(self, given: Any) -> Any:
        found = self._at(given)
        if not isinstance(found, Value):
            raise no_place("a value that differs from key to key")
        return found.value

    def _number(self, given: Any) -> float:
        found = self._value(given)
        if not isinstance(found, (int, float)):
            raise no_place("a text where a number belongs")
        try:
            number = float(found)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise no_place("a number that is not finite")
        return number

    def _weights(self, found: Any) -> Weights:
        if isinstance(found, Weights) and not found.chosen:
            return found
        if isinstance(found, Weights):
            raise no_place(f"{self.method} within other changes")
        if isinstance(found, NoPlace):
            raise found.error
        raise no_place(_kind(found))

    def _deltas(self, found: Any) -> Rows:
        if isinstance(found, Deltas) and not found.method:
            return found.rows
        raise no_place(found.method if isinstance(found, Deltas) else _kind(found))

    def _mixed(self, parts: list[tuple[Weights, float]]) -> Weights:
        """Σ weight · part, the weights adding up to one; the first part's base is the base."""
        base = parts[0][0].base
        terms: list[tuple[Rows, float]] = []
        for part, weight in parts:
            terms += [({(part.base, base): 1.0}, weight)] if part.base != base else []
            terms.append((part.rows, weight))
        return Weights(base, self._sum(terms))

    def _sum(self, terms: Iterable[tuple[Rows, float]]) -> Rows:
        """Σ weight · rows, one row for each model and parent."""
        total: Rows = {}
        for rows, weight in terms:
            self._work += len(rows) + 1
            for pair, alpha in rows.items():
                total[pair] = total.get(pair, 0.0) + alpha * weight
            if len(total) > MAX_ROWS or self._work > _MAX_WORK:
                raise RecipeError(
                    "this .mecha recipe says more than a table holds",
                    expected=f"at most {MAX_ROWS} rows",
                    fix="Run it with sd-mecha and use its result as a model.",
                )
        return total

    def _model(self, path: str) -> Weights:
        """A model under the name that its rows use, noting its file."""
        file = PureWindowsPath(path).name  # either separator
        stem = PureWindowsPath(file).stem
        name = file if self.files.get(stem, file) != file or stem == BASE else stem
        self.files[name] = file
        return Weights(name)


def _needed(steps: list[Step]) -> list[int]:
    """Numbers of the steps that the last one refers to, directly or indirectly, ascending."""
    needed = {len(steps) - 1}
    for number in range(len(steps) - 1, -1, -1):  # a step refers to earlier ones only
        if number in needed:
            step = steps[number]
            needed.update(x for x in (*step.args, *step.options.values()) if _is_ref(x))
    return sorted(needed)


def _is_ref(value: Any) -> bool:
    return isinstance(value, Ref)


def _kind(found: Any) -> str:
    names = {Slerp: "slerp", Deltas: "a difference", Weights: "a model as a difference"}
    return names.get(type(found), "a value in place of a model")
