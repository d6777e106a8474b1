"""The subgraph blueprint that newer releases of ComfyUI offer: from set to merge in one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .examples import Studio
from .subgraph import Subgraph
from .workflow import Node

__all__ = ["NAME", "blueprint"]

NAME = "Ortho merge (set, analysis, mixer, merge)"


def blueprint(info: Mapping[str, Any]) -> dict[str, Any]:
    """A workflow of one node that stands for the whole chain. info: the host's `/object_info`."""
    inner = Studio(info)
    chosen = inner.add("OrthoModelSet")
    analysis = inner.add("DeltaGramAnalyzer", models=chosen)
    proposal = inner.add("DeltaBaseOptimizer", analysis=analysis)
    mixer = inner.add("OrthoMixer", models=chosen, mix=proposal)
    merged = inner.add("OrthoMergeExecute", recipe=mixer)
    for column, nodes in enumerate(([chosen], [analysis, proposal], [mixer], [merged])):
        _stack(nodes, 800 * column)
    made = Subgraph(
        NAME,
        inner,
        {},
        {"MODEL": (merged, 0), "recipe": (merged, 1), "report": (merged, 2)},
        [
            (chosen, "base"),
            (chosen, "models"),
            (mixer, "method"),
            (mixer, "table"),
            (merged, "strength"),
        ],
    )
    flow = Studio(info)
    flow.subgraph(made, (780, 760))
    return flow.saved(NAME)


def _stack(nodes: list[Node], x: int) -> None:
    y = 0
    for node in nodes:
        node.pos = (x, y)
        y += node.size[1] + 60
