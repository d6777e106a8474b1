"""Does it merge better? Every method on a trained family, judged by losses and by pictures.

    python benchmarks/quality.py            three families; trains those that are missing
    python benchmarks/quality.py --quick    the repository's family, few merges: some minutes

Results are kept in `.cache/quality`, so a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=False)

from benchmarks.merge_quality.contenders import CONTENDERS, QUICK, VARIANTS
from benchmarks.merge_quality.ledger import Ledger, family_digest
from benchmarks.merge_quality.skills import MEASURED, SUBSETS, TELLING, Subset
from benchmarks.merge_quality.work import Task, run_tasks
from scripts.support import family
from scripts.train_family import family_folder


def plan_tasks(families: Sequence[int], subsets: Sequence[Subset] = SUBSETS) -> list[Task]:
    """Everything to measure: the most telling subsets first, families side by side."""
    folders = {family_folder(number): family_digest(family_folder(number)) for number in families}
    tasks = [Task(f, d, model=m) for f, d in folders.items() for m in family.MODELS if m in MEASURED]
    for subset in subsets:
        some = (*CONTENDERS, *VARIANTS) if subset.name in TELLING else CONTENDERS
        tasks += [Task(f, d, subset, c) for f, d in folders.items() for c in some]
    return tasks


def main() -> None:
    """Train, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="family 1 and a few merges only")
    parser.add_argument("--families", type=int, nargs="+", default=[1, 2, 3], help="their numbers")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes, one thread each")
    asked = parser.parse_args()
    ledger = Ledger(env.CACHE / "quality" / "results.jsonl")
    run_tasks(plan_tasks(asked.families), ledger, asked.jobs)

if __name__ == "__main__":
    main()
