"""Pairs of trials that people choose from, stored beside their study."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import RecipeError
from .preference import bradley_terry
from .storage import Storage

__all__ = ["CHOICES", "Pair", "Rating"]

CHOICES = {"left": 1.0, "right": 0.0, "neither": 0.5}
"""What a person may answer, and what the left one gets for it."""


@dataclass(frozen=True)
class Pair:
    """Two trials that were shown together; `choice` is one of `CHOICES` once a person answered."""

    number: int
    left: int
    right: int
    choice: str | None = None


class Rating:
    """The comparisons of one study; see `Study` for who may work on it."""

    def __init__(self, storage: Storage, study: str) -> None:
        self._storage, self._study = storage, study
        with storage.talking():
            self._id = storage.open(f"{study} (pairs)", ("minimize",), {})

    def show(self, left: int, right: int) -> Pair:
        """Remember that these two trials are shown to a person; `judge` takes the answer."""
        with self._storage.talking():
            _, number = self._storage.new_trial(self._id, {"left": left, "right": right})
        return Pair(number, left, right)

    def judge(self, pair: int, choice: str) -> bool:
        """Store a person's answer about a pair; False where there was one, which stays.

        Raises: RecipeError for a pair that was never shown, or another word.
        """
        if choice not in CHOICES:
            raise RecipeError(
                "choice",
                expected=f"one of {', '.join(CHOICES)}",
                received=f'"{choice}"',
                fix="Write it after the number of the pair, e.g. 3 left.",
            )
        with self._storage.talking():
            pairs = self._storage.trials(self._id)
            if not 0 <= pair < len(pairs):
                raise RecipeError(
                    f'study "{self._study}" has shown no pair {pair}',
                    fix="Use the number that is shown with the pictures.",
                )
            return self._storage.finish(pairs[pair]._trial_id, [CHOICES[choice]])

    def pairs(self) -> list[Pair]:
        """Every pair that was shown, by number."""
        words = {value: word for word, value in CHOICES.items()}
        with self._storage.talking():
            trials = self._storage.trials(self._id)
        return [
            Pair(
                trial.number,
                int(trial.user_attrs["left"]),
                int(trial.user_attrs["right"]),
                words.get(trial.values[0]) if trial.values else None,
            )
            for trial in trials
            if "right" in trial.user_attrs
        ]

    def strengths(self) -> dict[int, float]:
        """Bradley–Terry strength of every trial that was judged; larger is better."""
        judged = [pair for pair in self.pairs() if pair.choice is not None]
        numbers = sorted({n for pair in judged for n in (pair.left, pair.right)})
        place = {number: i for i, number in enumerate(numbers)}
        found = bradley_terry(
            len(numbers),
            [(place[p.left], place[p.right], CHOICES[str(p.choice)]) for p in judged],
        )
        return dict(zip(numbers, found.tolist(), strict=True))
