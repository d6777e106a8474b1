"""The loop of a search: ask, score, tell, until enough trials are complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..progress import Progress
from .study import Study, Trial

__all__ = ["search"]


def search(
    study: Study,
    evaluate: Callable[[Trial], Sequence[float]],
    trials: int,
    progress: Progress | None = None,
) -> int:
    """Run until the study has `trials` complete trials; return how many this process made.

    A trial whose score is not finite has failed and does not count; after as many failures as
    trials were asked for, the search ends. Stopping, by whatever `evaluate` or `progress` raises,
    keeps every trial that was told; the one at work is handed out again when the search resumes.
    """
    progress = progress or Progress()
    counts = study.counts()
    progress.start(float(trials), f"Search {study.name}")
    progress.advance(float(min(counts["complete"], trials)))
    made = failed = 0
    while counts["complete"] < trials and failed < trials:
        trial = study.ask()
        told = study.tell(trial.number, evaluate(trial))
        before, counts = counts, study.counts()
        made += told
        failed += counts["fail"] > before["fail"]
        progress.advance(float(max(0, counts["complete"] - before["complete"])))
    return made
