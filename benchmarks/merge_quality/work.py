"""The measuring itself: tasks, each one model on all exams, spread over worker processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.support import env

from .contenders import Contender
from .exam import composed_paper, losses, papers
from .judge import Judge
from .ledger import Ledger
from .merging import foreseen, merge, nearness
from .painter import Painter, read, start_noise
from .pictures import BASE_SHAPES, all_prompts
from .skills import ATTRIBUTES, SUBSETS, Subset

__all__ = ["VERSION", "Task", "run_tasks"]

VERSION = 1
"""Counted up when exams, judge or sampling change, so that old results are not mixed with new."""

DRAWN = tuple(all_prompts(BASE_SHAPES) * 2 + all_prompts(("star",)) * 4)
"""Prompts of the sampled pictures."""

_NOISE_SEED = 700_001


@dataclass(frozen=True)
class Task:
    """One model to measure: a merge (`contender`), or a model of its own (`model`, in `file`)."""

    folder: Path
    digest: str
    subset: Subset | None = None
    contender: Contender | None = None
    model: str = ""
    file: Path | None = None

    @property
    def key(self) -> str:
        """The ledger's key."""
        if self.subset is None or self.contender is None:
            return Ledger.key(VERSION, self.digest, self.model)
        parents = list(self.subset.parents.items())
        return Ledger.key(VERSION, self.digest, parents, self.contender.key)


def run_tasks(tasks: Sequence[Task], ledger: Ledger, jobs: int) -> None:
    """Measure what the ledger lacks, in order, and say how it goes."""
    left = [t for t in tasks if t.key not in ledger]
    if not left:
        return
    env.say(f"{len(left)} models to measure, {len(tasks) - len(left)} known")
    Judge.ready(env.CACHE / "quality")
    started = time.monotonic()
    for number, (task, result) in enumerate(_spread(left, jobs), start=1):
        ledger.add(task.key, result)
        if number % 20 == 0 or number == len(left):
            spent = time.monotonic() - started
            rest = spent / number * (len(left) - number)
            env.say(f"{number}/{len(left)} measured, about {rest / 60:.0f} min left")


def _spread(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, dict[str, Any]]]:
    if jobs <= 1:
        yield from map(_measure, tasks)
        return
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_measure, tasks)


def _measure(task: Task) -> tuple[Task, dict[str, Any]]:
    torch.set_num_threads(1)
    begun = time.perf_counter()
    extra: dict[str, Any] = {}
    if task.subset is not None and task.contender is not None:
        weights = merge(task.folder, task.subset, task.contender)
        extra = {"forecast": foreseen(task.folder, task.subset, task.contender)}
        skills, subsets = ("base", *task.subset.models), (task.subset,)
    else:
        weights = read(task.file or task.folder / f"{task.model}.safetensors")
        skills, subsets = tuple(_papers()), tuple(SUBSETS)
    painter = _painter(task.folder)
    painter.load(weights)
    asked = {name: _papers()[name] for name in skills}
    composed = {f"composed:{'+'.join(s.models)}": _composed(s.models) for s in subsets}
    found = losses(painter, asked | composed)
    seen = _judge().look(painter.draw(_noise(), painter.index(DRAWN)), DRAWN)
    wanted = {"+".join(s.models): s.models for s in subsets}
    result = {
        "losses": found,
        "marks": marks(seen),
        "together": {name: together(seen, models) for name, models in wanted.items()},
        "nearness": nearness(task.folder, weights),
        "seconds": round(time.perf_counter() - begun, 2),
    }
    return task, result | extra


def marks(seen: dict[str, Tensor]) -> dict[str, float]:
    """Shares of pictures that show each attribute, among those that can show it."""
    star = torch.tensor(["star" in p for p in DRAWN])
    circle = torch.tensor(["circle" in p for p in DRAWN])
    among = {"tilt": ~star & ~circle, "star": star}
    return {
        name: float(value[among.get(name, ~star)].float().mean()) for name, value in seen.items()
    }


def together(seen: dict[str, Tensor], models: Sequence[str]) -> float:
    """Share of pictures that show all that these models add, and what the prompt says."""
    star = torch.tensor(["star" in p for p in DRAWN])
    circle = torch.tensor(["circle" in p for p in DRAWN])
    counted = star if "star" in models else ~star & ~(circle & ("ink-fine" in models))
    all_seen = seen["right"].clone()
    for model in models:
        all_seen &= seen[ATTRIBUTES[model]]
    return float(all_seen[counted].float().mean())


@cache
def _painter(folder: Path) -> Painter:
    return Painter(read(folder / "base.safetensors"))


@cache
def _papers() -> dict[str, Any]:
    return papers()


@cache
def _composed(models: tuple[str, ...]) -> Any:
    return composed_paper(Subset("", dict.fromkeys(models, "base")))


@cache
def _judge() -> Judge:
    return Judge.ready(env.CACHE / "quality")


@cache
def _noise() -> Tensor:
    return start_noise(len(DRAWN), _NOISE_SEED)
