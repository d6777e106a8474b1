"""OrthoTuneResult: stores the score of a trial, and says what the study has found so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..orthomerge_core.errors import RecipeError
from ..orthomerge_core.forecast.reduction import Reduced, read_reduced, reduce_for_table
from ..orthomerge_core.recipe.model import Recipe
from ..orthomerge_core.report.tune_plots import (
    front_picture,
    history_picture,
    importance_picture,
)
from ..orthomerge_core.report.tune_text import tune_report
from ..orthomerge_core.tune.proposal import best_recipe
from ..orthomerge_core.tune.results import balanced
from ..orthomerge_core.tune.scores import ForecastScores
from ..orthomerge_core.tune.study import Study
from . import host
from .studies import opponent, side_by_side, store_picture
from .widgets import picture, schema, ui_payload
from .wire import Mix, MixWire, RecipeSocket, RecipeWire, TrialSocket, TrialWire

__all__ = ["OrthoTuneResult"]


class OrthoTuneResult(io.ComfyNode):
    """Tells the study the scores of one trial; in mode rate it shows a pair of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A trial, its scores or its picture, and the proposal that the best one continues."""

        def score(name: str, tooltip: str) -> io.Float.Input:
            return io.Float.Input(name, optional=True, force_input=True, tooltip=tooltip)

        return schema(
            "OrthoTuneResult",
            display_name="Ortho Merge Tune Result",
            description="Stores the scores of a trial and gives the best recipe so far, with a "
            "report and pictures.",
            search_aliases=["optuna", "score", "pareto front", "rate pictures"],
            is_output_node=True,
            inputs=[
                TrialSocket.Input("trial", tooltip="From Ortho Merge Tune."),
                score("score", "Any FLOAT of the graph."),
                score("score_2", "The second goal's score."),
                score("score_3", "The third goal's score."),
                io.Image.Input(
                    "images", optional=True, tooltip="The trial's picture, for mode rate."
                ),
                Mix.Input(
                    "mix",
                    optional=True,
                    tooltip="A proposal whose rows take the best values, for the mixer.",
                ),
                RecipeSocket.Input(
                    "recipe", optional=True, tooltip="The trial's recipe, to give the best one."
                ),
            ],
            outputs=[
                RecipeSocket.Output(display_name="best", tooltip="The best recipe so far."),
                Mix.Output(display_name="mix", tooltip="The best rows as a proposal."),
                io.String.Output(display_name="report", tooltip="The search in words."),
                io.Image.Output(display_name="history", tooltip="Scores over the trials."),
                io.Image.Output(display_name="importance", tooltip="Which parameter mattered."),
                io.Image.Output(display_name="front", tooltip="The Pareto front, or the pair."),
            ],
        )

    @classmethod
    @host.guarded
    def execute(
        cls,
        trial: TrialWire,
        score: float | None = None,
        score_2: float | None = None,
        score_3: float | None = None,
        images: torch.Tensor | None = None,
        mix: MixWire | None = None,
        recipe: RecipeWire | None = None,
    ) -> io.NodeOutput:
        """Tell, then look at the whole study."""
        study, nothing = trial.study, host.blocked()
        pair = _rated(trial, images) if study.rating is not None else None
        if pair is None and not trial.done:
            given = [value for value in (score, score_2, score_3) if value is not None]
            if study.rating is None:
                study.tell(trial.trial.number, given)
        trials, text = study.finished(), tune_report(study)
        chosen = _best(study, mix)
        wire = nothing if chosen is None or recipe is None else replace(recipe, recipe=chosen)
        drawn = [
            picture(lambda: history_picture(study.plan, trials)),
            picture(lambda: importance_picture(study.plan, trials)),
        ]
        shown = pair["pixels"] if pair else None
        drawn.append(picture(lambda: front_picture(study.plan, trials) if shown is None else shown))
        payload: dict[str, Any] = {"kind": "tune", "text": text, "counts": study.counts()}
        more: dict[str, Any] = {}
        if pair:
            payload |= {"pair": pair["number"], "text": f"{pair['text']}\n\n{text}"}
            more = {"images": [host.save_png(pair["pixels"], "OrthoMerge/pair", {})]}
        proposal = nothing if chosen is None or mix is None else _proposed(mix, chosen)
        return io.NodeOutput(wire, proposal, text, *drawn, ui=ui_payload(payload, **more))


def _rated(trial: TrialWire, images: torch.Tensor | None) -> dict[str, Any] | None:
    """Store the picture and show it beside another trial's; None for the first of a study."""
    study, number = trial.study, trial.trial.number
    if images is None:
        raise RecipeError(
            "mode rate needs the trial's picture", fix="Connect the decoded image to images."
        )
    store_picture(trial.trial, images)
    study.tell(number, [0.0])
    other = opponent(study, number)
    if other is None or study.rating is None or trial.done:
        return None
    order = (other, number) if number % 2 else (number, other)  # neither side is the new one's
    pair = study.rating.show(*order)
    words = (
        f"Pair {pair.number}: trial {order[0]} left, trial {order[1]} right. Write "
        f'"{pair.number} left", "{pair.number} right" or "{pair.number} neither" as choice of '
        "Ortho Merge Tune, and run again."
    )
    pixels: np.ndarray = side_by_side(study.name, order)
    return {"number": pair.number, "text": words, "pixels": pixels}


def _best(study: Study, mix: MixWire | None) -> Recipe | None:
    """The best recipe with its reasons; with a proposal, what is kept of each row too."""
    best = study.best()
    if not best:
        return None
    one = balanced(best, study.plan.directions)
    recipe = study.trial(one.number).recipe
    kept = dict(ForecastScores(_reduced(mix), []).retention(recipe)[1]) if mix else {}
    return best_recipe(study.plan, one, recipe, len(study.finished()), kept)


def _reduced(mix: MixWire) -> Reduced:
    return read_reduced(reduce_for_table(mix.analysis))


def _proposed(mix: MixWire, best: Recipe) -> MixWire:
    """The proposal with the rows of the best recipe; models without a row keep theirs."""
    found = {row.model: row for row in best.rows}
    rows = tuple(found.get(row.model, row) for row in mix.proposal.rows)
    parents = dict(mix.proposal.parents) | {row.model: row.delta_from for row in rows}
    return replace(mix, proposal=replace(mix.proposal, rows=rows, parents=parents))
