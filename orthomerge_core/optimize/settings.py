"""Settings of the search for delta bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import RecipeError, did_you_mean
from ..params import Param, choice, flag, integer, number

__all__ = ["EXHAUSTIVE_MAX_MODELS", "PARAMS", "OptimizeSettings"]

EXHAUSTIVE_MAX_MODELS = 7
"""Above this many models the number of assignments makes `exhaustive` pointless (9^8 > 10^7)."""

PARAMS: tuple[Param, ...] = (
    choice(
        "search",
        ("auto", "local", "exhaustive"),
        "auto",
        "How parents are searched: exhaustive tries every admissible assignment (up to 7 models), "
        "local improves the spanning tree step by step; auto picks.",
    ),
    number(
        "redundancy",
        0.8,
        0.0,
        1.0,
        "Cosine above which two rows say the same, so that the weaker one is switched off. "
        "1 switches nothing off.",
    ),
    number(
        "repeat_threshold",
        1.0,
        0.0,
        1.0,
        "Mean new information (1 − cos²) against all other rows above which a row counts twice. "
        "1 never repeats; 0.85 suits methods that average. In those that add, twice is too much.",
    ),
    number(
        "opposition",
        -0.8,
        -1.0,
        0.0,
        "Cosine below which two rows are warned to work against each other. -1 never warns.",
    ),
    number(
        "duplicate",
        0.1,
        0.0,
        1.0,
        "A model whose own change is below this share of its parent's change is a near-duplicate "
        "and is switched off. 0 keeps all.",
    ),
    number(
        "min_gain",
        1e-3,
        0.0,
        1.0,
        "Local search accepts another parent only if total orthogonality grows by more than this.",
    ),
    integer("max_sweeps", 50, 1, 1000, "Most passes of local search over all models."),
    flag(
        "one_per_group",
        False,
        "Of models that change the base alike keep the one of highest quality; off keeps all.",
    ),
)


@dataclass(frozen=True)
class OptimizeSettings:
    """Thresholds of the delta-base optimizer; `PARAMS` tells meaning, range and neutral value.

    All thresholds are cosines or shares without unit. Invalid values raise `RecipeError`.
    """

    search: str = "auto"
    redundancy: float = 0.8
    repeat_threshold: float = 1.0
    opposition: float = -0.8
    min_gain: float = 1e-3
    max_sweeps: int = 50
    duplicate: float = 0.1
    one_per_group: bool = False

    def __post_init__(self) -> None:
        for param in PARAMS:
            param.check(getattr(self, param.name))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OptimizeSettings:
        """Settings from plain JSON; an unknown name raises `RecipeError` listing what is valid."""
        known = {p.name: p for p in PARAMS}
        for name in values:
            if name not in known:
                raise RecipeError(
                    f'unknown optimizer setting "{name}"', fix=did_you_mean(name, tuple(known))
                )
        return cls(**{name: known[name].check(value) for name, value in values.items()})

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        return dict(vars(self))

    def search_for(self, models: int) -> str:
        """`exhaustive` or `local` for a set of that many models.

        Raises `RecipeError` where `exhaustive` was asked for too many models.
        """
        if self.search == "exhaustive" and models > EXHAUSTIVE_MAX_MODELS:
            raise RecipeError(
                f"exhaustive search over {models} models",
                expected=f"at most {EXHAUSTIVE_MAX_MODELS} models",
                received=models,
                fix="Set search to local or auto.",
            )
        if self.search == "auto":
            return "exhaustive" if models <= EXHAUSTIVE_MAX_MODELS else "local"
        return self.search
