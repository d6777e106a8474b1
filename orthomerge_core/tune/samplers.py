"""Samplers: choose the next trial from the seed and the trials so far."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import RecipeError, UnsupportedError, did_you_mean
from .optuna_names import load_optuna
from .parameters import Parameter

__all__ = ["SAMPLERS", "Suggester", "Told", "distribution"]

SAMPLERS = ("auto", "tpe", "cmaes", "random", "nsga2")
"""auto: `tpe` for one score, `nsga2` for several."""

Told = tuple[Mapping[str, Any], Sequence[float]]
"""(values by parameter, scores) of a finished trial."""


class Suggester:
    """Values for the next trial: numbers, and the labels of choices.

    The same seed, number and told trials give the same values, in this process or in another one:
    nothing is kept that is not computed from them. TPE and NSGA-II are Optuna's, on a study in
    memory that repeats the told trials; CMA-ES is the package `cmaes`, whose state is computed from
    the told trials again, so that no state lies in a database in a form that runs code when read.

    Raises:
        RecipeError: no such sampler, or `cmaes` for choices or several scores.
        UnsupportedError: a package is not installed.
    """

    def __init__(
        self, sampler: str, seed: int, parameters: Sequence[Parameter], directions: Sequence[str]
    ) -> None:
        if sampler not in SAMPLERS:
            raise RecipeError(f'sampler "{sampler}"', fix=did_you_mean(sampler, SAMPLERS))
        several = len(directions) > 1
        self.name = ("nsga2" if several else "tpe") if sampler == "auto" else sampler
        if self.name == "cmaes" and (several or any(p.labels for p in parameters)):
            raise RecipeError(
                "sampler cmaes searches ranges of numbers for one score",
                fix="Use tpe, or nsga2 for several scores.",
            )
        self._seed, self._parameters = seed, tuple(parameters)
        self._directions = tuple(directions)
        self._optuna = load_optuna()
        self._spaces = {p.name: distribution(p) for p in parameters}
        self._population = max(12, min(50, 4 * len(self._parameters)))
        self._told: list[Told] = []
        self._study: Any = None

    def suggest(self, told: Sequence[Told], number: int) -> dict[str, Any]:
        """The values of trial `number` after these trials, in the order of their numbers."""
        mixed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self.name == "cmaes":
            return self._cmaes(told, mixed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna marks parts that it may change
            self._repeat(told)
            self._study.sampler = self._sampler(mixed)
            trial = self._study.ask(self._spaces)
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return {p.name: trial.params[p.name] for p in self._parameters}

    def _sampler(self, seed: int) -> Any:
        samplers = self._optuna.samplers
        if self.name == "tpe":
            first = max(8, 2 * len(self._parameters))
            return samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=first)
        if self.name == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=self._population)
        return samplers.RandomSampler(seed=seed)

    def _repeat(self, told: Sequence[Told]) -> None:
        """Update the study in memory to `told`; start over if earlier trials changed."""
        if self._study is None or list(told[: len(self._told)]) != self._told:
            self._study, self._told = (
                self._optuna.create_study(directions=list(self._directions)),
                [],
            )
        kind = self._optuna.samplers.NSGAIISampler
        generation = getattr(kind, "_GENERATION_KEY", "nsga2:generation")
        for values, scores in told[len(self._told) :]:
            born = {generation: len(self._told) // self._population}
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    params=dict(values),
                    distributions=self._spaces,
                    values=list(scores),
                    system_attrs=born,
                )
            )
            self._told.append((values, scores))

    def _cmaes(self, told: Sequence[Told], seed: int) -> dict[str, Any]:
        """CMA-ES (Hansen and Ostermeier 2001) in the unit cube; λ = 4 + ⌊3 ln d⌋."""
        size = max(len(self._parameters), 2)  # the algorithm needs two dimensions; one may idle
        if self._study is None or list(told[: len(self._told)]) != self._told:
            self._study, self._told = _new_cma(size), []
        sign = 1.0 if self._directions[0] == "minimize" else -1.0
        count = self._study.population_size
        while len(told) - len(self._told) >= count:
            part = told[len(self._told) : len(self._told) + count]
            self._study.tell(
                [(self._unit(values, size), sign * scores[0]) for values, scores in part]
            )
            self._told += part
        self._study.reseed_rng(seed)
        point = self._study.ask()
        return {p.name: _from_unit(p, float(point[i])) for i, p in enumerate(self._parameters)}

    def _unit(self, values: Mapping[str, Any], size: int) -> np.ndarray:
        point = np.full(size, 0.5)
        for i, parameter in enumerate(self._parameters):
            low, high, x = parameter.low, parameter.high, float(values[parameter.name])
            change: Callable[[float], float] = math.log if parameter.log else float
            point[i] = (change(x) - change(low)) / (change(high) - change(low))
        return point


def _new_cma(size: int) -> Any:
    try:
        from cmaes import CMA
    except ImportError:
        raise UnsupportedError(
            "sampler cmaes needs the package cmaes, which is not installed",
            fix="Install it: pip install cmaes.",
        ) from None
    bounds = np.tile([0.0, 1.0], (size, 1))
    return CMA(np.full(size, 0.5), 0.3, bounds=bounds, seed=0)


def _from_unit(parameter: Parameter, x: float) -> float | int:
    low, high = parameter.low, parameter.high
    if parameter.log:
        value = math.exp(math.log(low) + x * (math.log(high) - math.log(low)))
    else:
        value = low + x * (high - low)
    if parameter.step is not None:
        value = low + round((value - low) / parameter.step) * parameter.step
        value = value if value <= high + 1e-9 else value - parameter.step
        value = round(value, 9)
    value = min(max(value, low), high)
    return round(value) if parameter.whole else value


def distribution(parameter: Parameter) -> Any:
    """The parameter as Optuna describes it."""
    kinds = load_optuna().distributions
    if parameter.labels:
        return kinds.CategoricalDistribution(parameter.labels)
    if parameter.whole:
        whole_step = int(parameter.step or 1)
        return kinds.IntDistribution(int(parameter.low), int(parameter.high), step=whole_step)
    low, high, step = parameter.low, parameter.high, parameter.step
    if step is not None:  # Optuna wants the last step to end on the range's end
        high = round(low + math.floor((high - low) / step + 1e-9) * step, 12)
    return kinds.FloatDistribution(low, high, step=step, log=parameter.log)
