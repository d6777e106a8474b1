"""The families that are measured: trained where they are missing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.support import env, family

from .contenders import CONTENDERS, PLAIN, QUICK, VARIANTS, Contender
from .ledger import family_digest
from .skills import ASIDE, MEASURED, SUBSETS, TELLING, Subset
from .work import Task

__all__ = ["JOINT", "family_folder", "joint_folder", "plan_tasks", "train_missing"]

JOINT = "joint"
"""The model trained on everything at once: what a merge of four could be at best."""


def family_folder(number: int) -> Path:
    """Where a family's members lie."""
    return env.CACHE / "families" / str(number)


def joint_folder(number: int) -> Path:
    """Where a family's jointly trained model lies; it is no member of the family."""
    return env.CACHE / "families" / f"{JOINT}-{number}"


def train_missing(numbers: Sequence[int], jobs: int, joint: bool = True) -> None:
    """Train what is missing, `jobs` families side by side with one thread each.

    Raises `SystemExit` where a training fails; what it finished stays and is not trained again.
    """
    orders = [[number] for number in numbers if _lacks(number)]
    _train([["--seed", str(n)] for (n,) in orders], jobs)
    if joint:
        folders = {n: joint_folder(n) for n in numbers}
        left = [n for n, f in folders.items() if not (f / f"{JOINT}.safetensors").exists()]
        _train([["--seed", str(n), "--out", str(folders[n]), JOINT] for n in left], jobs)


def _lacks(number: int) -> bool:
    return any(not (family_folder(number) / f"{m}.safetensors").exists() for m in family.MODELS)


def _train(orders: Sequence[Sequence[str]], jobs: int) -> None:
    script = env.ROOT / "benchmarks" / "train_quality_family.py"
    if orders:
        env.ensure_comfyui()  # once, before several want it
    waiting, running = list(orders), []
    while waiting or running:
        while waiting and len(running) < jobs:
            order = ["--fast", "--threads", "1", *waiting.pop(0)]
            running.append(subprocess.Popen([sys.executable, str(script), *order]))
        time.sleep(0.5)
        failed = [p for p in running if p.poll() not in (None, 0)]
        if failed:
            for process in running:
                process.terminate()
            raise SystemExit("a training failed; what was finished is kept")
        running = [p for p in running if p.poll() is None]


def plan_tasks(numbers: Sequence[int], quick: bool = False) -> list[Task]:
    """Everything to measure: the most telling subsets first, families side by side."""
    folders = {number: family_folder(number) for number in numbers}
    digests = {number: family_digest(folder) for number, folder in folders.items()}
    tasks = []
    for number, folder in folders.items():
        tasks += [Task(folder, digests[number], model=m) for m in MEASURED]
        joint = joint_folder(number) / f"{JOINT}.safetensors"
        if joint.exists():
            tasks.append(Task(folder, digests[number], model=JOINT, file=joint))
    for subset in SUBSETS[:2] if quick else SUBSETS:
        some = QUICK if quick else _contenders(subset)
        for number, folder in folders.items():
            tasks += [Task(folder, digests[number], subset, one) for one in some]
    return tasks


def _contenders(subset: Subset) -> Sequence[Contender]:
    if subset.name in ASIDE:
        return PLAIN
    return (*CONTENDERS, *VARIANTS) if subset.name in TELLING else CONTENDERS
