"""Does it merge better? Every method on a trained family, judged by losses and by pictures.

    python benchmarks/quality.py            three families; trains those that are missing
    python benchmarks/quality.py --quick    family 1 and few merges: some minutes once it is trained

A merge of models that each add something is asked four things: its loss on pictures that show all
of it at once (`composed`), its loss on each model's own pictures (`recovered`), what a classifier
sees in pictures it draws (`shown`, `together`), and whether they still are what the prompt asks for
(`right`). Results are kept in `.cache/quality`, so a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=False)

from benchmarks.merge_quality.families import family_folder, plan_tasks, train_missing
from benchmarks.merge_quality.ksampler import largest_difference
from benchmarks.merge_quality.ledger import Ledger
from benchmarks.merge_quality.report import write_report
from benchmarks.merge_quality.work import run_tasks


def main() -> None:
    """Train what is missing, measure what is not known, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="family 1 and a few merges only")
    parser.add_argument("--families", type=int, nargs="+", default=[1, 2, 3], help="their numbers")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes, one thread each")
    parser.add_argument(
        "--out", type=Path, default=env.CACHE / "quality" / "report", help="folder of the report"
    )
    asked = parser.parse_args()
    numbers = [1] if asked.quick else asked.families
    train_missing(numbers, asked.jobs, joint=not asked.quick)
    tasks, ledger = plan_tasks(numbers, asked.quick), Ledger(env.CACHE / "quality/results.jsonl")
    run_tasks(tasks, ledger, asked.jobs)
    sampler = largest_difference(family_folder(1) / "star.safetensors")
    print(write_report(asked.out, tasks, ledger, sampler))
    env.say(f"report and plot: {asked.out}")


if __name__ == "__main__":
    main()
