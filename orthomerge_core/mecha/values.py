"""The values of the steps of a `.mecha` text; they combine without growing.

`imports` evaluates the steps; the names and defaults of sd-mecha's methods stand here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import RecipeError
from .method import METHOD
from .steps import Step

__all__ = [
    "PARAMETERS",
    "Deltas",
    "NoPlace",
    "Rows",
    "Slerp",
    "Value",
    "Weights",
    "bound",
    "no_place",
]

_KNOWN = (
    f"{METHOD}, weighted_sum, add_difference, subtract, n_average, scale, slerp, ties_sum, "
    "model_stock, geometric_median, fallback"
)
_RANDOM = ("dropout", "ties_sum_with_dropout")
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    METHOD: {"recipe": None},
    "weighted_sum": {"a": None, "b": None, "alpha": 0.5},
    "add_difference": {"a": None, "b": None, "alpha": 1.0},
    "subtract": {"a": None, "b": None},
    "scale": {"a": None, "alpha": 1.0},
    "slerp": {"a": None, "b": None, "alpha": 0.5},
    "fallback": {"a": None, "default": None},
    "convert_singleton": {"singleton": None},
    "n_average": {},
    "ties_sum": {"k": 1.0, "vote_sgn": False},
    "model_stock": {"cos_eps": 1e-6},
    "geometric_median": {"eps": 1e-6, "maxiter": 100, "ftol": 1e-20},
}
"""sd-mecha's names and defaults of what we read; None has no default."""

MANY = ("n_average", "ties_sum", "model_stock", "geometric_median", METHOD)


Rows = dict[tuple[str, str], float]
"""(model, parent) → alpha: the sum of alpha (model − parent)."""


@dataclass(frozen=True)
class Weights:
    """A step in weight space: W = base + Σ alpha (model − parent).

    Sums with weights that add up to one stay of that form whatever their nesting.
    """

    base: str
    rows: Rows = field(default_factory=dict)
    chosen: tuple[tuple[tuple[str, str], float], ...] = ()  # rows of another method than a sum


@dataclass(frozen=True)
class Deltas:
    """A step in delta space; `method` combines the rows where it is not their sum."""

    rows: Rows
    method: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Rows, ...] = ()


@dataclass(frozen=True)
class Slerp:
    """Spherical interpolation of two models; it can only be the whole recipe."""

    base: str
    other: str
    alpha: float


@dataclass(frozen=True)
class Value:
    """A parameter: the same for every key of the model."""

    value: Any


@dataclass(frozen=True)
class NoPlace:
    """A step that no table can say: an error only where something needs it."""

    error: RecipeError


def bound(step: Step) -> Mapping[str, Any]:
    """The arguments by sd-mecha's names, defaults filled in."""
    known = PARAMETERS[step.name]
    given = dict(known) | dict(step.options)
    if step.name in MANY:
        positional: Iterable[tuple[str, Any]] = ()
    else:
        positional = zip(known, step.args, strict=False)
    given |= dict(positional)
    missing = [name for name in known if given[name] is None]
    extra = sorted(given.keys() - known.keys())
    if missing or extra or (step.name not in MANY and len(step.args) > len(known)):
        raise RecipeError(
            f"this .mecha recipe calls {step.name} with other arguments than it has",
            expected=", ".join(known),
            received=", ".join(extra) or f"{len(step.args)} arguments",
            fix="Export it again with the same version of sd-mecha.",
        )
    return given


def no_place(what: str) -> RecipeError:
    """The error about something that sd-mecha can say and a table of rows cannot."""
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
