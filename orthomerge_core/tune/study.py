"""A study: trials of one recipe, asked and told by one process or by many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import RecipeError
from ..io.hashing import bytes_hash
from ..recipe.canonical import canonical
from ..recipe.model import Recipe
from .parameters import Parameter, recipe_with
from .rating import Rating
from .results import Finished, front
from .samplers import Suggester, Told, distribution
from .storage import Storage, is_alive, worker_name

__all__ = ["MODES", "PREFERENCE", "Plan", "Study", "Trial", "values_text"]

MODES = ("score", "rate")
"""score: every trial is told its scores. rate: people choose between pairs of trials."""

PREFERENCE = (("preference", "maximize"),)
"""The score of the mode `rate`: the Bradley–Terry strength of a trial."""

_MOST_ATTEMPTS = 3
_ABOUT = "orthomerge"
_WORKER, _ATTEMPTS = "worker", "attempts"


@dataclass(frozen=True)
class Plan:
    """What a study searches, and how. `scores`: (name, direction) of each; those of the
    mode `rate` are `PREFERENCE`.

    Two plans that differ in more than sampler and seed cannot share a study.
    """

    recipe: Recipe
    parameters: tuple[Parameter, ...]
    scores: tuple[tuple[str, str], ...]
    sampler: str = "auto"
    seed: int = 0
    mode: str = "score"

    def __post_init__(self) -> None:
        if self.mode == "rate":
            object.__setattr__(self, "scores", PREFERENCE)

    @property
    def directions(self) -> tuple[str, ...]:
        """minimize or maximize, per score."""
        return tuple(direction for _, direction in self.scores)

    def to_json(self) -> dict[str, Any]:
        """What a study keeps, to tell whether another plan is the same."""
        return {
            "version": 1,
            "recipe": bytes_hash(canonical(self.recipe).encode()),
            "parameters": [p.to_json() for p in self.parameters],
            "scores": [list(score) for score in self.scores],
            "mode": self.mode,
        }


@dataclass(frozen=True)
class Trial:
    """One recipe to be scored."""

    study: str
    number: int
    recipe: Recipe
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`trial 7: ink alpha 0.62 · method average`."""
        return f"trial {self.number}: {values_text(self.values)}"


def values_text(values: Mapping[str, Any]) -> str:
    """`ink alpha 0.62 · method average`."""
    shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
    return " · ".join(shown)


class Study:
    """Asks and tells trials; everything it knows lies in its storage.

    Several processes and machines may work on one study at once. A trial whose process is gone, or
    that this process asked for and never told, is handed out again before a new one is made, three
    times at most; so a search that was killed continues where it was.

    Raises:
        RecipeError: the storage holds a study of this name that searches something else.
        FileError, UnsupportedError: see `Storage`.
    """

    def __init__(self, storage: Storage, name: str, plan: Plan) -> None:
        self.name, self.plan, self._storage = name, plan, storage
        self._suggester = Suggester(plan.sampler, plan.seed, plan.parameters, plan.directions)
        self._spaces = {p.name: distribution(p) for p in plan.parameters}
        with storage.talking():
            self._id = storage.open(name, plan.directions, {_ABOUT: plan.to_json()})
            found = storage.about(self._id).get(_ABOUT)
        self.rating = Rating(storage, name) if plan.mode == "rate" else None
        if found != plan.to_json():
            raise RecipeError(
                f'the study "{name}" searches something else: {_differing(found, plan)}',
                fix="Choose another name for the study.",
            )

    def ask(self) -> Trial:
        """The next trial; see the class for whose."""
        with self._storage.talking():
            mine = worker_name()
            for trial in self._storage.trials(self._id, "RUNNING"):
                if len(trial.params) < len(self._spaces) or not self._is_left(trial, mine):
                    continue
                attempts = int(trial.user_attrs.get(_ATTEMPTS, 1))
                if attempts >= _MOST_ATTEMPTS:
                    self._storage.finish(trial._trial_id, None)
                    continue
                self._storage.mark(trial._trial_id, {_WORKER: mine, _ATTEMPTS: attempts + 1})
                return self._trial(trial.number, trial.params)
            told = self._told()
            trial_id, number = self._storage.new_trial(self._id, {_WORKER: mine, _ATTEMPTS: 1})
            values = self._suggester.suggest(told, number)
            self._storage.set_values(trial_id, values, self._spaces)
            return self._trial(number, values)

    def tell(self, number: int, scores: Sequence[float]) -> bool:
        """Store the scores of a trial; False if it already had scores.

        A score that is not finite marks the trial as failed. Raises `RecipeError` for another
        number of scores, or a trial that the study does not have.
        """
        if len(scores) != len(self.plan.scores):
            raise RecipeError(
                f'study "{self.name}": scores of trial {number}',
                expected=len(self.plan.scores),
                received=len(scores),
                fix="Give every score that the study names.",
            )
        finite = all(math.isfinite(score) for score in scores)
        with self._storage.talking():
            trial_id = self._known(number)
            values = [float(score) for score in scores] if finite else None
            return self._storage.finish(trial_id, values)

    def finished(self) -> list[Finished]:
        """Trials with scores, by number; in `rate` mode the score is the Bradley–Terry strength."""
        with self._storage.talking():
            trials = self._storage.trials(self._id, "COMPLETE")
        rated = self.rating.strengths() if self.rating is not None else None
        found = []
        for trial in trials:
            scores = tuple(trial.values)
            if rated is not None:
                if trial.number not in rated:
                    continue
                scores = (rated[trial.number],)
            found.append(Finished(trial.number, dict(trial.params), scores))
        return found

    def counts(self) -> dict[str, int]:
        """How many trials are complete, running, and failed."""
        with self._storage.talking():
            return {
                state.lower(): len(self._storage.trials(self._id, state))
                for state in ("COMPLETE", "RUNNING", "FAIL")
            }

    def best(self) -> list[Finished]:
        """The best trial, or all of the Pareto front; empty before any is finished."""
        return front(self.finished(), self.plan.directions)

    def trial(self, number: int) -> Trial:
        """A trial of the study, with its recipe."""
        with self._storage.talking():
            self._known(number)
            trials = self._storage.trials(self._id)
        return self._trial(number, trials[number].params)

    def _told(self) -> list[Told]:
        return [(trial.values, trial.scores) for trial in self.finished()]

    def _is_left(self, trial: Any, mine: str) -> bool:
        """Whether this trial has been abandoned, as far as can be known."""
        worker = str(trial.user_attrs.get(_WORKER, ""))
        return worker == mine or not is_alive(worker)

    def _known(self, number: int) -> int:
        trials = self._storage.trials(self._id)
        if not 0 <= number < len(trials):
            raise RecipeError(
                f'study "{self.name}" has no trial {number}', fix="Ask for a trial first."
            )
        return int(trials[number]._trial_id)

    def _trial(self, number: int, values: Mapping[str, Any]) -> Trial:
        ordered = {p.name: values[p.name] for p in self.plan.parameters}
        recipe = recipe_with(self.plan.recipe, self.plan.parameters, ordered)
        return Trial(self.name, number, recipe, ordered)


def _differing(found: Any, plan: Plan) -> str:
    """Which part of a plan is not that of the stored study."""
    mine = plan.to_json()
    if not isinstance(found, Mapping):
        return "it is not one of OrthoMerge"
    words = {
        "recipe": "another recipe",
        "parameters": "other parameters",
        "mode": "another mode",
        "scores": "other scores",
    }
    return next((words[k] for k in words if found.get(k) != mine[k]), "another version")
