from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from orthomerge_core.optimize.delta_base import optimize_parents
from orthomerge_core.optimize.proposal import Proposal
from orthomerge_core.report.lineage_plot import lineage
from orthomerge_core.report.optimizer_text import optimizer_report
from tests.core.optimize.builders import analysis_of, family, random_tree


def solved(seed: int = 0):
    models = family(seed, 2000)
    base = models.pop("base")
    analysis = analysis_of(models, base)
    return analysis, optimize_parents(analysis, quality=[0.5, 0.6, 0.4, float("nan")])


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_is_1024_wide_and_grows_with_the_models(dark: bool) -> None:
    pytest.importorskip("matplotlib")
    analysis, proposal = solved()
    small = lineage(analysis, proposal, dark)
    assert small.dtype == np.uint8
    assert small.shape[1:] == (1024, 3)
    assert (small[0, 0] < 64).all() if dark else (small[0, 0] > 250).all()
    assert len(np.unique(small.reshape(-1, 3), axis=0)) > 20
    many = random_tree(np.random.default_rng(1), 12)
    large = lineage(many, optimize_parents(many, quality=[0.5] * 12), dark)
    assert large.shape[0] - small.shape[0] == 8 * (46 + 30)  # lineage and groups


def test_long_and_foreign_names_and_a_family_of_copies_are_drawn() -> None:
    pytest.importorskip("matplotlib")
    base = np.ones(8)
    names = ("a" * 300, "插画 $x_1^2$ _%&", "copy")
    analysis = analysis_of({name: [base] for name in names}, [base])
    assert lineage(analysis, optimize_parents(analysis, quality=[0.5] * 3)).shape[1] == 1024


def test_the_report_starts_with_what_to_do() -> None:
    _, proposal = solved()
    text = optimizer_report(proposal)
    assert text.startswith(
        "# Delta bases\n\nMerge child, grandchild, stranger.\nLeave out twin.\n"
        "Measured from a nearer relative than the base: grandchild via child.\n"
    )
    assert "| twin | child |" in text
    assert "| 0.40 | off | near-duplicate of child" in text
    assert "| n/a | 1× | from the base |" in text
    assert "- twin is off: near-duplicate of child" in text
    assert "every admissible assignment was compared" in text
    assert "It leads the second best by" in text


def test_the_report_says_how_sure_it_is() -> None:
    _, proposal = solved()

    def said(**changes: object) -> str:
        return optimizer_report(dataclasses.replace(proposal, **changes))  # type: ignore[arg-type]

    assert "There is no other assignment." in said(second_best=None)
    assert "as orthogonal, with larger changes" in said(second_best=proposal.objective)
    assert "Local search would have missed 0.2000." in said(
        local_objective=proposal.best_objective - 0.2
    )
    assert "best change of one parent" in said(exact=False, search="local")


def test_names_cannot_break_the_table() -> None:
    analysis = analysis_of({"a|b": [np.arange(4.0)]}, [np.zeros(4)])
    proposal: Proposal = optimize_parents(analysis, quality=[0.5])
    assert "| a\\|b | base |" in optimizer_report(proposal)
