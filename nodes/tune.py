"""OrthoTune: the next trial of a study. Every queued run tries another recipe."""

from __future__ import annotations

import uuid
from dataclasses import replace

from comfy_api.latest import io

from ..orthomerge_core.tune.parameters import parse_parameters
from ..orthomerge_core.tune.samplers import SAMPLERS
from ..orthomerge_core.tune.study import MODES, Plan
from . import host
from .studies import answer, open_study, read_goals
from .widgets import schema, ui_payload
from .wire import RecipeSocket, RecipeWire, TrialSocket, TrialWire

__all__ = ["OrthoTune"]


class OrthoTune(io.ComfyNode):
    """Asks the study for a trial; once it is complete, gives the best recipe."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A recipe, what may change in it, and the study."""
        return schema(
            "OrthoTune",
            display_name="Ortho Merge Tune",
            searchable_name="Ortho Merge Tune (auto merge, Optuna)",
            description="Gives the next recipe of a search, a new one in every queued run, and the "
            "best one when the search is complete.",
            search_aliases=["optuna", "auto merge", "hyperparameter search", "bayesian merge"],
            inputs=[
                RecipeSocket.Input("recipe", tooltip="The recipe that the search changes."),
                io.String.Input(
                    "parameters",
                    multiline=True,
                    default="each.alpha = 0:1.5",
                    optional=True,
                    tooltip="What may change, one per line: target = low:high, low:high:log or "
                    "choices, e.g. ink.alpha = 0:1 or method = each.",
                ),
                io.String.Input(
                    "study",
                    default="my search",
                    optional=True,
                    tooltip="The name under which trials are kept; a study that is there "
                    "continues.",
                ),
                io.Int.Input(
                    "trials",
                    default=40,
                    min=1,
                    max=100_000,
                    optional=True,
                    tooltip="Complete trials after which the best recipe is given.",
                ),
                io.String.Input(
                    "goals",
                    default="maximize",
                    optional=True,
                    tooltip="maximize or minimize, one per score, with commas.",
                ),
                io.Combo.Input(
                    "sampler",
                    options=list(SAMPLERS),
                    default="auto",
                    optional=True,
                    tooltip="auto: tpe for one score, nsga2 for several. cmaes: for ranges of "
                    "numbers.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**32 - 1,
                    control_after_generate=False,  # a study keeps its seed
                    optional=True,
                    tooltip="Equal seeds give equal trials for equal scores.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="score",
                    optional=True,
                    tooltip="score: connect a score to the result node. rate: you choose between "
                    "pairs of pictures.",
                ),
                io.String.Input(
                    "choice",
                    default="",
                    optional=True,
                    tooltip="In mode rate: the number of the pair that was shown, and left, right "
                    "or neither, e.g. 3 left.",
                ),
            ],
            outputs=[
                RecipeSocket.Output(display_name="recipe", tooltip="The recipe of this trial."),
                TrialSocket.Output(display_name="trial", tooltip="For the result node."),
                io.String.Output(display_name="label", tooltip="What is tried, in words."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        """Never the same: each queued run is a trial of its own."""
        return uuid.uuid4().hex

    @classmethod
    @host.guarded
    def execute(
        cls,
        recipe: RecipeWire,
        parameters: str = "each.alpha = 0:1.5",
        study: str = "my search",
        trials: int = 40,
        goals: str = "maximize",
        sampler: str = "auto",
        seed: int = 0,
        mode: str = "score",
        choice: str = "",
    ) -> io.NodeOutput:
        """Store the person's choice, then ask; nothing is merged here."""
        found = parse_parameters([parameters], recipe.recipe)
        plan = Plan(recipe.recipe, found, read_goals(goals), sampler, seed, mode)
        opened = open_study(study, plan)
        answer(opened, choice)
        count, best = opened.counts()["complete"], opened.best()
        done = count >= trials and bool(best)
        trial = opened.trial(best[0].number) if done else opened.ask()
        label = f"best of {count}, {trial.label}" if done else f"{trial.label} ({count} complete)"
        wire = replace(recipe, recipe=trial.recipe, content_hash=None)
        payload = {"kind": "trial", "text": label, "number": trial.number, "complete": count}
        return io.NodeOutput(wire, TrialWire(opened, trial, done), label, ui=ui_payload(payload))
