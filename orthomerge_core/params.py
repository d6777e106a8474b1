"""Parameters of methods: described once for the core, the nodes, the table and the shell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from .errors import RecipeError, did_you_mean, shown_value

__all__ = ["Param", "choice", "flag", "integer", "number"]


@dataclass(frozen=True)
class Param:
    """One option of a method or step.

    `help` tells the meaning, the range and the neutral value. `default` is what a recipe means that
    does not state the option, for good; `suggested` is what a new mix states, None for the default.
    """

    name: str
    kind: Literal["choice", "number", "integer", "flag"]
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    suggested: Any = None

    def check(self, value: Any) -> Any:
        """Return `value` in its own type, or raise `RecipeError` that lists what is valid."""
        if self.kind == "flag":
            if isinstance(value, bool):
                return value
            raise self._error(value, "true or false")
        if self.kind == "choice":
            if isinstance(value, str) and value in self.choices:
                return value
            raise self._error(value, "one of " + ", ".join(self.choices), str(value))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(value, self._range())
        if not math.isfinite(value) or (self.kind == "integer" and value != int(value)):
            raise self._error(value, self._range())
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if not low <= value <= high:
            raise self._error(value, self._range())
        return int(value) if self.kind == "integer" else float(value)

    def to_json(self) -> dict[str, Any]:
        """The description as plain JSON, for the browser and for `--json`."""
        fields = {"name": self.name, "kind": self.kind, "default": self.default, "help": self.help}
        if self.choices:
            fields["choices"] = list(self.choices)
        if self.minimum is not None:
            fields["minimum"] = self.minimum
        if self.maximum is not None:
            fields["maximum"] = self.maximum
        if self.suggested is not None:
            fields["suggested"] = self.suggested
        return fields

    def _range(self) -> str:
        word = "a whole number" if self.kind == "integer" else "a finite number"
        if self.minimum is None and self.maximum is None:
            return word
        return f"{word} in {self.minimum}..{self.maximum}"

    def _error(self, value: Any, expected: str, word: str | None = None) -> RecipeError:
        fix = did_you_mean(word, self.choices) if word else f"The default is {self.default}."
        return RecipeError(
            f'option "{self.name}"', expected=expected, received=shown_value(value), fix=fix
        )


def choice(name: str, choices: tuple[str, ...], default: str, help: str) -> Param:
    """A parameter with a fixed list of words."""
    return Param(name, "choice", default, help, choices=choices)


def number(
    name: str,
    default: float,
    minimum: float,
    maximum: float,
    help: str,
    suggested: float | None = None,
) -> Param:
    """A real parameter within [minimum, maximum]."""
    return Param(
        name, "number", default, help, minimum=minimum, maximum=maximum, suggested=suggested
    )


def integer(name: str, default: int, minimum: int, maximum: int, help: str) -> Param:
    """A whole-number parameter within [minimum, maximum]."""
    return Param(name, "integer", default, help, minimum=minimum, maximum=maximum)


def flag(name: str, default: bool, help: str) -> Param:
    """A yes/no parameter."""
    return Param(name, "flag", default, help)
