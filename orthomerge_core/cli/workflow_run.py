"""Runs a workflow on a running ComfyUI, once per recipe."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OrthoMergeError, RecipeError, did_you_mean, shown_value
from ..progress import OnlyChecks, Progress
from ..recipe.codec import dumps
from ..recipe.model import Recipe
from .comfy_api import ComfyApi, Run
from .common import read_json
from .workflow_inputs import find_node

__all__ = ["DEFAULT_API", "NodeScore", "WorkflowRunner", "client", "node_score", "read_workflow"]

DEFAULT_API = "http://127.0.0.1:8188"
_RECIPE, _SCORE = "orthomerge_recipe", "orthomerge_score_"


@dataclass(frozen=True)
class NodeScore:
    """A FLOAT output of a node: its id, the output's number, and which way is better."""

    name: str
    node: str
    output: int
    direction: str


def read_workflow(path: Path) -> dict[str, Any]:
    """An API workflow; `RecipeError` for any other JSON."""
    graph = read_json(path, "an API workflow")
    nodes = graph.values() if isinstance(graph, dict) else ()
    if not nodes or not all(isinstance(node, dict) and "class_type" in node for node in nodes):
        raise RecipeError(
            f'"{path.name}" is not an API workflow',
            fix='In ComfyUI choose "Export (API)" and use that file.',
        )
    return dict(graph)


def client(address: str | None) -> ComfyApi:
    """The ComfyUI at that address, at `COMFYUI_API`, or on this machine."""
    return ComfyApi(address or os.environ.get("COMFYUI_API") or DEFAULT_API)


def node_score(text: str, graph: dict[str, Any]) -> NodeScore:
    """A score from `NODE`, `NODE.OUTPUT`, `min:NODE`: an id, a title or a class, and a number.

    Raises: RecipeError where the workflow has no such node.
    """
    word, colon, rest = text.strip().partition(":")
    direction = {"min": "minimize", "max": "maximize"}.get(word) if colon else None
    place = rest if direction else text.strip()
    node, dot, number = place.rpartition(".")
    name, output = (node, int(number)) if dot and number.isdigit() else (place, 0)
    key = find_node(graph, name)
    return NodeScore(text.strip(), key, output, direction or "maximize")


class WorkflowRunner:
    """Runs a workflow with one recipe after the other in place of the one that it merges."""

    def __init__(
        self,
        api: ComfyApi,
        graph: dict[str, Any],
        scores: Sequence[NodeScore] = (),
        *,
        timeout_s: float = 3600.0,
    ) -> None:
        self._api, self._timeout_s, self._scores = api, timeout_s, tuple(scores)
        self._graph = copy.deepcopy(graph)
        merges = [n for n in self._graph.values() if n["class_type"] == "OrthoMergeExecute"]
        if not merges:
            kinds = tuple(dict.fromkeys(node["class_type"] for node in graph.values()))
            raise RecipeError(
                "the workflow has no node OrthoMergeExecute that a recipe could go to",
                fix=did_you_mean("OrthoMergeExecute", kinds),
            )
        links = {repr(node.get("inputs", {}).get("recipe")) for node in merges}
        if len(links) > 1:
            raise RecipeError(
                "the workflow merges several recipes",
                expected="one recipe, for one or more OrthoMergeExecute",
                received=len(links),
                fix="Remove the others.",
            )
        for node in merges:
            node.setdefault("inputs", {})["recipe"] = [_RECIPE, 0]
        for i, score in enumerate(self._scores):
            self._graph[f"{_SCORE}{i}"] = {
                "class_type": "PreviewAny",
                "inputs": {"source": [score.node, score.output]},
            }

    def run(self, recipe: Recipe, progress: Progress) -> Run:
        """Post the workflow with this recipe and wait; `OrthoMergeError` with ComfyUI's reason."""
        node = {"class_type": "OrthoRecipe", "inputs": {"json": dumps(recipe)}}
        run = self._api.run(self._graph | {_RECIPE: node}, OnlyChecks(progress), self._timeout_s)
        if run.refused:
            raise OrthoMergeError(run.refused[0], fix="Correct the workflow.")
        return run

    def score(self, recipe: Recipe, progress: Progress) -> tuple[float, ...]:
        """The scores that the workflow computes for this recipe; NaN for what is not a number."""
        run = self.run(recipe, progress)
        return tuple(
            _number(run.outputs.get(f"{_SCORE}{i}", {}).get("text", [""]), score)
            for i, score in enumerate(self._scores)
        )


def _number(texts: Sequence[Any], score: NodeScore) -> float:
    text = str(texts[0]) if texts else ""
    try:
        return float(text)
    except ValueError:
        pass
    if text.strip().lower() in ("nan", "inf", "-inf"):
        return math.nan
    raise RecipeError(
        f'score "{score.name}": output {score.output} of node {score.node} is not a number',
        expected="a FLOAT",
        received=shown_value(text, 60),
        fix="Name an output of type FLOAT as NODE.OUTPUT.",
    )
