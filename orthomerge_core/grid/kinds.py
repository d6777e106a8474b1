"""Kinds of things that an axis, or a search, can change in a recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from ..errors import RecipeError, did_you_mean
from ..params import Param
from ..recipe.model import Recipe, Row
from .values import EACH, number_of

__all__ = [
    "Choice",
    "Cost",
    "LeaveOneOut",
    "Number",
    "Option",
    "Setting",
    "Target",
    "with_rows",
]


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
    limits: tuple[float, float] | None = None
    """Of a number: the smallest and the largest value."""
    whole = False
    """Whether a number has no fractions."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        """(label, value) per word; `each` stands for all there are. Raises `RecipeError`."""

    @abstractmethod
    def apply(self, setting: Setting, value: Any) -> Setting:
        """The setting with this value; nothing else changes."""


class Number(Target):
    """A number within a range; `put` sets it."""

    def __init__(
        self,
        name: str,
        low: float,
        high: float,
        put: Callable[[Setting, float], Setting],
        cost: Cost = Cost.COMBINE,
        *,
        whole: bool = False,
    ) -> None:
        super().__init__(name)
        self._low, self._high, self._put, self.cost = low, high, put, cost
        self.limits, self.whole = (low, high), whole

    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        """See `Target`."""
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
        """See `Target`."""
        return self._put(setting, value)


class Choice(Target):
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
        """See `Target`."""
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
        """See `Target`."""
        return self._put(setting, value)


class Option(Target):
    """An option of the recipe's method, described by its `Param`."""

    def __init__(self, param: Param, cost: Cost) -> None:
        super().__init__(param.name)
        self._param, self.cost = param, cost
        self.whole = param.kind == "integer"
        if param.minimum is not None and param.maximum is not None:
            self.limits = (param.minimum, param.maximum)

    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        """See `Target`."""
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
        """See `Target`."""
        options = dict(setting.recipe.options) | {self._param.name: value}
        return replace(setting, recipe=replace(setting.recipe, options=options))


class LeaveOneOut(Target):
    """`models`: all rows, and each model left out. `only`: one model at a time."""

    cost = Cost.DECOMPOSE

    def __init__(self, name: str, *, only: bool) -> None:
        super().__init__(name)
        self._only = only

    def values(self, words: Sequence[str], recipe: Recipe) -> list[tuple[str, Any]]:
        """See `Target`."""
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
        """See `Target`."""
        if value is None:
            return setting
        return with_rows(
            setting,
            lambda row: replace(row, enabled=row.enabled and (row.model == value) == self._only),
        )


def with_rows(setting: Setting, change: Callable[[Row], Row]) -> Setting:
    """The setting with every row changed."""
    rows = tuple(change(row) for row in setting.recipe.rows)
    return replace(setting, recipe=replace(setting.recipe, rows=rows))
