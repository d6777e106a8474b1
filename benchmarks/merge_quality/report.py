"""What a run leaves: figures as JSON, tables as Markdown, a plot as PNG."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.support import env

from .contenders import Contender
from .judge import Judge
from .learn import PREDICTORS, held_out, objective_predicts, predict, retention_predicts
from .ledger import Ledger
from .plot import draw_plot
from .summary import METRICS, Judged, judged
from .table import by_count_table, four_table, reference_rows, short_table
from .work import Task

__all__ = ["write_report"]

_TARGETS = ("composed", "together", "shown, mean", "recovered, mean", "right")


def write_report(folder: Path, tasks: Sequence[Task], ledger: Ledger, sampler: float) -> str:
    """Write quality.json, quality.md and quality.png; the Markdown is returned, too.

    sampler: largest difference of a sampled picture to ComfyUI's own.
    """
    found = list(judged(tasks, ledger))
    alone: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if task.model and task.key in ledger:
            alone.setdefault(task.digest, {})[task.model] = ledger[task.key]
    judge = Judge.ready(env.CACHE / "quality")
    learnt = lessons(found)
    text = "\n\n".join(
        [
            f"{len(alone)} families, {len(found)} merges; {platform.machine()}, "
            f"{time.strftime('%d %B %Y')}. Judge on drawn pictures it never saw: "
            + ", ".join(f"{name} {share:.1%}" for name, share in judge.accuracy.items())
            + f". Sampled pictures differ from ComfyUI's own by {sampler:.0e} at most.",
            short_table(found),
            by_count_table(found),
            four_table(found, reference_rows(list(alone.values()))),
            learnt_text(learnt),
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "quality.md").write_text(text + "\n", encoding="utf-8")
    (folder / "quality.json").write_text(
        json.dumps({"judge": judge.accuracy, "learnt": learnt, "merges": _rows(found)}, indent=1),
        encoding="utf-8",
    )
    draw_plot(found, folder / "quality.png")
    return text


def lessons(found: Sequence[Judged]) -> dict[str, Any]:
    """Rank correlations, see `learn`."""
    plain = Contender("task_arithmetic", 1.0).key
    return {
        "retention": retention_predicts(found),
        "objective": objective_predicts(found, plain),
        "predictors": {name: predict(found, METRICS[name]) for name in _TARGETS},
    }


def learnt_text(learnt: dict[str, Any]) -> str:
    """`lessons` as Markdown."""
    lines = ["Rank correlations (mean ± sd over families), −1 to 1:", ""]
    for what, (mean, sd) in learnt["retention"].items():
        lines.append(f"- forecast retention of a row against {what}: {mean:.2f} ± {sd:.2f}")
    for what, (mean, sd) in learnt["objective"].items():
        lines.append(f"- total orthogonality of a subset against {what}: {mean:.2f} ± {sd:.2f}")
    heads = ["predictor of a merge's quality", *_TARGETS]
    lines += ["", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * len(_TARGETS)]
    for name in PREDICTORS:
        cells = []
        for target in _TARGETS:
            values = list(learnt["predictors"][target][name].values())
            cells.append(f"{sum(values) / len(values):.2f}" if values else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| chosen on the other families, for | family | predictor | on that family |"]
    lines += ["|---|---|---|---:|"]
    for target in _TARGETS:
        held = held_out(learnt["predictors"][target])
        lines += [
            f"| {target} | {name} | {best} | {rho:.2f} |" for name, (best, rho) in held.items()
        ]
    return "\n".join(lines)


def _rows(found: Sequence[Judged]) -> list[dict[str, Any]]:
    return [
        {
            "family": j.family,
            "subset": j.subset.name,
            "method": j.contender.method,
            "alpha": j.contender.alpha,
            "options": dict(j.contender.options),
            "score": vars(j.score),
        }
        for j in found
    ]
