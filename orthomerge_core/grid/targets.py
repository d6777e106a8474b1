"""What an axis can change in a recipe: one class per kind of target.

To add a kind: a subclass of `Target` and its line in `find_target`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from ..errors import RecipeError, did_you_mean
from ..methods.contract import DecomposedMethod
from ..methods.registry import all_methods, get_method
from ..params import Param
from ..recipe.check import find_cycle
from ..recipe.model import ALPHA_LIMIT, BASE, OUTPUT_DTYPES, Recipe, Row
from .values import EACH, number_of

__all__ = ["Cost", "Setting", "Target", "find_target"]


class Cost(IntEnum):
    """How much work two cells share that differ in this target only; the smaller, the more."""

    RESCALE = 0
    """The merged change is scaled; nothing is computed again."""
    COMBINE = 1
    """Deltas are combined anew from cached Grams or decompositions."""
    DECOMPOSE = 2
    """Rows or the options of a decomposition change; cached parts of other rows stay."""
    METHOD = 3
    """Another method runs."""


@dataclass(frozen=True)
class Setting:
    """What a cell is made of."""

    recipe: Recipe


class Target(ABC):
    """Something in a recipe that an axis sets to one value after the other.

    `name` is what the axis is called in pictures; `cost` orders the cells of a grid.
    """

    cost: Cost = Cost.COMBINE

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        """(label, value) per word; `each` stands for all there are. Raises `RecipeError`."""

    @abstractmethod
    def apply(self, setting: Setting, value: Any) -> Setting:
        """The setting with this value; nothing else changes."""


class _Number(Target):
    """A number within a range; `put` sets it."""

    def __init__(
        self,
        name: str,
        low: float,
        high: float,
        put: Callable[[Setting, float], Setting],
        cost: Cost = Cost.COMBINE,
    ) -> None:
        super().__init__(name)
        self._low, self._high, self._put, self.cost = low, high, put, cost

    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        found = [(word, number_of(word, self.name)) for word in words]
        for word, value in found:
            if not self._low <= value <= self._high:
                raise RecipeError(
                    f'axis "{self.name}"',
                    expected=f"numbers in {self._low:g}..{self._high:g}",
                    received=word,
                    fix="Leave it out or use another value.",
                )
        return found

    def apply(self, setting: Setting, value: Any) -> Setting:
        return self._put(setting, value)


class _Choice(Target):
    """One of a list of words, which may depend on the recipe."""

    def __init__(
        self,
        name: str,
        choices: Callable[[Recipe], Sequence[str]],
        put: Callable[[Setting, str], Setting],
        cost: Cost,
    ) -> None:
        super().__init__(name)
        self._choices, self._put, self.cost = choices, put, cost

    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        valid = tuple(self._choices(recipe))
        chosen: list[str] = []
        for word in words:
            if word == EACH:
                chosen += valid
            elif word in valid:
                chosen.append(word)
            else:
                raise RecipeError(
                    f'axis "{self.name}": unknown value "{word}"',
                    fix=did_you_mean(word, (*valid, EACH)),
                )
        return [(word, word) for word in dict.fromkeys(chosen)]

    def apply(self, setting: Setting, value: Any) -> Setting:
        return self._put(setting, value)


class _Option(Target):
    """An option of the recipe's method, described by its `Param`."""

    def __init__(self, param: Param, cost: Cost) -> None:
        super().__init__(param.name)
        self._param, self.cost = param, cost

    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        if self._param.kind in ("choice", "flag") and EACH in words:
            choices = self._param.choices or ("off", "on")
            words = [w for word in words for w in (choices if word == EACH else (word,))]
        return [(word, self._param.check(self._read(word))) for word in dict.fromkeys(words)]

    def _read(self, word: str) -> Any:
        if self._param.kind == "choice":
            return word
        if self._param.kind == "flag":
            return {"on": True, "true": True, "off": False, "false": False}.get(word, word)
        return number_of(word, self.name)

    def apply(self, setting: Setting, value: Any) -> Setting:
        options = dict(setting.recipe.options) | {self._param.name: value}
        return replace(setting, recipe=replace(setting.recipe, options=options))


class _LeaveOneOut(Target):
    """`models`: all rows, and each model left out. `only`: one model at a time."""

    cost = Cost.DECOMPOSE

    def __init__(self, name: str, *, only: bool) -> None:
        super().__init__(name)
        self._only = only

    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        names = tuple(dict.fromkeys(row.model for row in recipe.active_rows))
        chosen: list[str] = []
        for word in words:
            if word not in (*names, EACH, "all"):
                raise RecipeError(
                    f'axis "{self.name}": no enabled row of "{word}"',
                    fix=did_you_mean(word, ("all", EACH, *names)),
                )
            chosen += ("all", *names) if word == EACH else (word,)
        prefix = "only" if self._only else "without"
        return [
            ("all", None) if word == "all" else (f"{prefix} {word}", word)
            for word in dict.fromkeys(chosen)
        ]

    def apply(self, setting: Setting, value: Any) -> Setting:
        if value is None:
            return setting
        return _with_rows(
            setting,
            lambda row: replace(row, enabled=row.enabled and (row.model == value) == self._only),
        )


def find_target(text: str, recipe: Recipe) -> Target:
    """The target of an axis: `alpha`, `strength`, `method`, `models`, `only`, `output_dtype`,
    `texture`, an option of the method, or `MODEL.FIELD` with the fields `alpha`, `repeat`,
    `delta_from`, `on`, `layers[PATTERN]` (also for all rows: `layers[PATTERN]`).

    Raises:
        RecipeError: no such target, with what there is.
    """
    text = text.strip()
    plain = _of_recipe(text, recipe)
    if plain is not None:
        return plain
    names = {row.model for row in recipe.rows}
    for name in sorted(names, key=len, reverse=True):
        if text.startswith(f"{name}."):
            return _of_row(text[len(name) + 1 :].strip(), recipe, name)
    fields = (
        "alpha",
        "strength",
        "method",
        "models",
        "only",
        "output_dtype",
        "texture",
        "layers[…]",
    )
    options = tuple(p.name for p in get_method(recipe.method).params)
    rows = tuple(f"{name}.alpha" for name in sorted(names))
    raise RecipeError(
        f'axis: nothing is called "{text}"',
        fix=did_you_mean(text, (*fields, "layers[…]", *options, *rows)),
    )


def _of_recipe(text: str, recipe: Recipe) -> Target | None:
    method = get_method(recipe.method)
    if text == "strength":
        return _Number(text, -5.0, 5.0, _set("strength"), Cost.RESCALE)
    if text == "method":
        return _Choice(text, lambda _: tuple(all_methods()), _set_method, Cost.METHOD)
    if text in ("models", "only"):
        return _LeaveOneOut(text, only=text == "only")
    if text == "output_dtype":
        return _Choice(text, lambda _: OUTPUT_DTYPES, _set("output_dtype"), Cost.COMBINE)
    if text == "texture":
        return _Number(text, 0.0, 0.5, _set_texture)
    if text == "alpha" or (text.startswith("layers[") and text.endswith("]")):
        return _of_row(text, recipe, None)
    for param in method.params:
        if param.name == text:
            parts = method.decompose_params if isinstance(method, DecomposedMethod) else ()
            return _Option(param, Cost.DECOMPOSE if text in parts else Cost.COMBINE)
    return None


def _of_row(field: str, recipe: Recipe, model: str | None) -> Target:
    """A field of the rows of one model, or of all rows."""
    name = field if model is None else f"{model} {field}"

    def put(change: Callable[[Row, Any], Row]) -> Callable[[Setting, Any], Setting]:
        return lambda setting, value: _with_rows(
            setting, lambda row: change(row, value) if model in (None, row.model) else row
        )

    if field == "alpha":
        limit = ALPHA_LIMIT
        return _Number(name, -limit, limit, put(lambda row, v: replace(row, alpha=v)))
    if field == "repeat":
        return _Number(name, 1, 3, put(lambda row, v: replace(row, repeat=round(v))))
    if field == "on":
        change = put(lambda row, v: replace(row, enabled=v == "on"))
        return _Choice(name, lambda _: ("off", "on"), change, Cost.DECOMPOSE)
    if field == "delta_from" and model is not None:
        change = put(lambda row, v: replace(row, delta_from=v))
        return _Choice(name, lambda r: _parents(r, model), change, Cost.DECOMPOSE)
    if field.startswith("layers[") and field.endswith("]"):
        pattern = field[7:-1].strip()
        return _Number(name, -5.0, 5.0, put(lambda row, v: _with_layer(row, pattern, v)))
    known = ("alpha", "repeat", "on", "delta_from", "layers[PATTERN]")
    raise RecipeError(f'axis: a row has no field "{field}"', fix=did_you_mean(field, known))


def _with_rows(setting: Setting, change: Callable[[Row], Row]) -> Setting:
    rows = tuple(change(row) for row in setting.recipe.rows)
    return replace(setting, recipe=replace(setting.recipe, rows=rows))


def _with_layer(row: Row, pattern: str, weight: float) -> Row:
    """The row with `pattern=weight` in front of its other layer weights: the first match wins."""
    rest = row.layers.strip()
    return replace(row, layers=f"{pattern}={weight:g}" + (f", {rest}" if rest else ""))


def _parents(recipe: Recipe, model: str) -> tuple[str, ...]:
    """Delta bases that make no circle: the base, and every other model that does not follow it."""
    found = [BASE]
    for candidate in recipe.models:
        parents: dict[str, tuple[str, ...]] = {}
        for row in recipe.rows:
            parent = candidate if row.model == model else row.delta_from
            if row.enabled and parent != BASE:
                parents[row.model] = (*parents.get(row.model, ()), parent)
        if candidate != model and not find_cycle(parents):
            found.append(candidate)
    return tuple(found)


def _set(field: str) -> Callable[[Setting, Any], Setting]:
    return lambda setting, value: replace(setting, recipe=replace(setting.recipe, **{field: value}))


def _set_method(setting: Setting, value: str) -> Setting:
    """Another method with its defaults; the recipe's own method keeps its options."""
    if value == setting.recipe.method:
        return setting
    return replace(setting, recipe=replace(setting.recipe, method=value, options={}))


def _set_texture(setting: Setting, value: float) -> Setting:
    boost = setting.recipe.texture_boost
    if boost.model is None:
        raise RecipeError(
            "axis: the recipe has no texture model", fix="Choose a texture model in the mixer."
        )
    return _set("texture_boost")(setting, replace(boost, alpha=value))
