"""The values that travel between the nodes, and their socket types.

ORTHO_MODELS carries `keys.setspec.SetSpec` itself. Each value says itself in a few words, because
ComfyUI shows the text of a node's inputs in every error it reports.
"""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io

from ..orthomerge_core.analysis.result import Analysis
from ..orthomerge_core.grid.cells import Grid
from ..orthomerge_core.keys.setspec import SetSpec
from ..orthomerge_core.optimize.proposal import Proposal
from ..orthomerge_core.recipe.model import Recipe
from ..orthomerge_core.tune.study import Study, Trial

__all__ = [
    "AnalysisWire",
    "GridSocket",
    "GridWire",
    "Mix",
    "MixWire",
    "Models",
    "OrthoAnalysis",
    "RecipeSocket",
    "RecipeWire",
    "TrialSocket",
    "TrialWire",
]

Models = io.Custom("ORTHO_MODELS")
OrthoAnalysis = io.Custom("ORTHO_ANALYSIS")
Mix = io.Custom("ORTHO_MIX")
RecipeSocket = io.Custom("ORTHO_RECIPE")
GridSocket = io.Custom("ORTHO_GRID")
TrialSocket = io.Custom("ORTHO_TRIAL")


@dataclass(frozen=True, repr=False)
class AnalysisWire:
    """An analysis, and the set it was made of."""

    analysis: Analysis
    spec: SetSpec

    def __repr__(self) -> str:
        return f"Analysis(base={self.analysis.base!r}, models={list(self.analysis.names)!r})"


@dataclass(frozen=True, repr=False)
class MixWire:
    """A proposal, and the analysis it was made from."""

    proposal: Proposal
    analysis: Analysis

    def __repr__(self) -> str:
        return f"Mix(rows={len(self.proposal.rows)}, models={list(self.analysis.names)!r})"


@dataclass(frozen=True, repr=False)
class RecipeWire:
    """A recipe, and where its models lie. `content_hash` is that of the merge, once it was made.

    A recipe of a grid has the grid's `group` and its number
    `cell`: the MODELs of a group are made one after the other in the same memory.
    """

    recipe: Recipe
    spec: SetSpec
    content_hash: str | None = None
    group: str | None = None
    cell: int = 0

    def __repr__(self) -> str:
        active = len(self.recipe.active_rows)
        return f"Recipe(method={self.recipe.method!r}, active_rows={active})"


@dataclass(frozen=True, repr=False)
class GridWire:
    """The cells of a grid; `group` marks its recipes."""

    grid: Grid
    group: str

    def __repr__(self) -> str:
        return f"Grid(shape={self.grid.shape})"


@dataclass(frozen=True, repr=False)
class TrialWire:
    """A trial of a study; `done`: the study is complete, and this is its best trial."""

    study: Study
    trial: Trial
    done: bool = False

    def __repr__(self) -> str:
        return f"Trial(study={self.study.name!r}, number={self.trial.number})"
