"""What a search may change: a target of the grid, and its range or its choices."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RecipeError
from ..grid.cells import split_phrase
from ..grid.kinds import Option, Setting, Target
from ..grid.targets import find_target
from ..grid.values import EACH, number_of, split_values
from ..methods.registry import get_method
from ..recipe.model import Recipe

__all__ = ["MAX_PARAMETERS", "Parameter", "parse_parameters", "recipe_with"]

MAX_PARAMETERS = 64
"""More cannot be searched with the number of trials that merges allow."""

_RANGE = re.compile(
    r"(?P<low>[^,:]+?)\s*(?::|\.\.)\s*(?P<high>[^,:]+?)(?:\s*:\s*(?P<how>[^,:]+))?$"
)
_FIX = "Write a range like alpha = 0:1.5 or damping = 0.001:1:log, or choices like method = a, b."


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search.

    A range has `low` ≤ value ≤ `high`, in steps of `step` from `low` where that is given, or evenly
    in the logarithm (`log`). Otherwise `labels` name the choices, whose values are `choices`.
    """

    target: Target
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    labels: tuple[str, ...] = ()
    choices: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """What reports and pictures call it, e.g. `ink alpha`."""
        return self.target.name

    @property
    def whole(self) -> bool:
        """Whether values have no fractions."""
        return self.target.whole

    def value_of(self, found: Any) -> Any:
        """What the target takes for what a study stores: a number, or the label of a choice."""
        return self.choices[self.labels.index(found)] if self.labels else found

    def to_json(self) -> dict[str, Any]:
        """What decides the search space; equal for equal spaces."""
        if self.labels:
            return {"name": self.name, "choices": list(self.labels)}
        return {
            "name": self.name,
            "low": self.low,
            "high": self.high,
            "step": self.step,
            "log": self.log,
        }


def parse_parameters(phrases: Sequence[str], recipe: Recipe) -> tuple[Parameter, ...]:
    """Parameters from `target = low:high`, `low:high:step`, `low:high:log` or a list of choices.

    `each` as target part stands for every active row: `each.alpha = 0:1.5`. Empty phrases count
    for nothing.

    Raises:
        RecipeError: none, too many, two for one thing, or one that cannot be understood.
    """
    found: list[Parameter] = []
    for phrase in (piece for text in phrases for piece in text.splitlines() if piece.strip()):
        found += [_parse(one, recipe) for one in _for_each_row(phrase, recipe)]
        if len(found) > MAX_PARAMETERS:
            break
    if not 1 <= len(found) <= MAX_PARAMETERS:
        raise RecipeError(
            "parameters of the search",
            expected=f"1 to {MAX_PARAMETERS}",
            received=len(found) if len(found) <= MAX_PARAMETERS else f"more than {MAX_PARAMETERS}",
            fix=_FIX,
        )
    names = [parameter.name for parameter in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RecipeError(f'two parameters set "{twice}"', fix="Remove one of them.")
    # A method resets its options, and rows that are switched off keep their other fields.
    return tuple(sorted(found, key=lambda parameter: -parameter.target.cost))


def recipe_with(
    recipe: Recipe, parameters: Sequence[Parameter], values: Mapping[str, Any]
) -> Recipe:
    """The recipe with these values, by the parameters' names; nothing else changes.

    An option counts only where the recipe's method, which may be a parameter too, has it.
    """
    setting = Setting(recipe)
    for parameter in parameters:
        options = {param.name for param in get_method(setting.recipe.method).params}
        if isinstance(parameter.target, Option) and parameter.name not in options:
            continue
        setting = parameter.target.apply(setting, parameter.value_of(values[parameter.name]))
    return setting.recipe


def _for_each_row(phrase: str, recipe: Recipe) -> list[str]:
    target, equals, rest = split_phrase(phrase)
    field = target.strip()
    if not field.startswith(f"{EACH}."):
        return [phrase]
    models = dict.fromkeys(row.model for row in recipe.rows if row.enabled)
    return [f"{model}{field[len(EACH) :]}{equals}{rest}" for model in models]


def _parse(phrase: str, recipe: Recipe) -> Parameter:
    try:
        return _parsed(phrase, recipe)
    except RecipeError as error:  # the grid speaks of axes
        what = error.what.replace("axis", "parameter", 1)
        raise RecipeError(
            what, expected=error.expected, received=error.received, fix=error.fix
        ) from None


def _parsed(phrase: str, recipe: Recipe) -> Parameter:
    target_text, equals, text = split_phrase(phrase)
    if not equals:
        raise RecipeError(f'parameter "{phrase.strip()}" has no "="', fix=_FIX)
    target = find_target(target_text, recipe)
    span = _RANGE.match(text.strip())
    if target.limits is not None and span:
        return _range(target, span)
    found = target.values(split_values(text, target.name), recipe)
    if len(found) < 2:
        raise RecipeError(
            f'parameter "{target.name}" has one value, so there is nothing to search', fix=_FIX
        )
    return Parameter(
        target, labels=tuple(label for label, _ in found), choices=tuple(v for _, v in found)
    )


def _range(target: Target, span: re.Match[str]) -> Parameter:
    low, high = (number_of(span[name], target.name) for name in ("low", "high"))
    how = (span["how"] or "").strip()
    if not low < high:
        raise RecipeError(
            f'parameter "{target.name}"',
            expected="a range whose end is larger than its start",
            received=f"{low:g}:{high:g}",
            fix=_FIX,
        )
    smallest, largest = target.limits or (-math.inf, math.inf)
    if low < smallest or high > largest:
        raise RecipeError(
            f'parameter "{target.name}"',
            expected=f"a range within {smallest:g}..{largest:g}",
            received=f"{low:g}:{high:g}",
            fix="Use a smaller range.",
        )
    log, step = how == "log", None if how in ("", "log") else number_of(how, target.name)
    if log and low <= 0.0:
        raise RecipeError(
            f'parameter "{target.name}": a logarithmic range starts above 0', fix=_FIX
        )
    if target.whole:
        if log or {low % 1, high % 1, (step or 1.0) % 1} != {0.0}:
            raise RecipeError(f'parameter "{target.name}" takes whole numbers', fix=_FIX)
        step = step or 1.0
    if step is not None and not 0.0 < step <= high - low:
        raise RecipeError(
            f'parameter "{target.name}": step',
            expected=f"a number above 0 and at most {high - low:g}",
            received=f"{step:g}",
            fix=_FIX,
        )
    return Parameter(target, low, high, step, log)
