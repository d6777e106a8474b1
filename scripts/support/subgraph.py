"""A subgraph of a workflow: nodes behind one node, as ComfyUI saves and flattens them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .workflow import Flow, Node

__all__ = ["Subgraph"]

ENTRY, EXIT = -10, -20  # what ComfyUI calls the two ends of a subgraph
_NAMESPACE = uuid.UUID("2f0f1f0e-9a53-4f43-9d8a-5c1f0d6f7a11")


@dataclass(frozen=True)
class Subgraph:
    """Nodes of `flow` behind one node.

    inputs: name → the inner inputs that it feeds. outputs: name → inner node and slot.
    widgets: inner widgets that the outer node shows.
    """

    name: str
    flow: Flow
    inputs: Mapping[str, Sequence[tuple[Node, str]]]
    outputs: Mapping[str, tuple[Node, int]]
    widgets: Sequence[tuple[Node, str]] = ()

    @property
    def kind(self) -> str:
        """The type of nodes that stand for this subgraph."""
        return str(uuid.uuid5(_NAMESPACE, self.name))

    def described(self) -> dict[str, Any]:
        """As `/object_info` would describe the node that stands for it."""
        required = {name: [self._type(*feeds[0]), {}] for name, feeds in self.inputs.items()}
        outputs = [
            self.flow.info[node.kind]["output"][slot] for node, slot in self.outputs.values()
        ]
        return {
            "input": {"required": required},
            "output": outputs,
            "output_name": list(self.outputs),
            "display_name": self.name,
        }

    def properties(self) -> dict[str, Any]:
        """What the outer node keeps of the widgets it shows."""
        return {"proxyWidgets": [[str(node.number), name] for node, name in self.widgets]}

    def saved(self) -> dict[str, Any]:
        """The definition, as a workflow holds it."""
        inner = self.flow.link_rows()
        number = len(inner)
        ends: dict[str, list[list[int]]] = {"in": [[] for _ in self.inputs], "out": []}
        for slot, feeds in enumerate(self.inputs.values()):
            for node, name in feeds:
                number += 1
                at = self.flow.socket(node, name)
                inner.append([number, ENTRY, slot, node.number, at, self._type(node, name)])
                ends["in"][slot].append(number)
        for slot, (node, out) in enumerate(self.outputs.values()):
            number += 1
            kind = self.flow.info[node.kind]["output"][out]
            inner.append([number, node.number, out, EXIT, slot, kind])
            ends["out"].append([number])
        described = self.described()
        kinds = [spec[0] for spec in described["input"]["required"].values()]
        return {
            "id": self.kind,
            "version": 1,
            "state": {
                "lastGroupId": 0,
                "lastNodeId": len(self.flow.nodes),
                "lastLinkId": number,
                "lastRerouteId": 0,
            },
            "revision": 0,
            "config": {},
            "name": self.name,
            "inputNode": {"id": ENTRY, "bounding": [-200, 0, 120, 80]},
            "outputNode": {"id": EXIT, "bounding": [self._right(), 0, 120, 80]},
            "inputs": self._slots("in", list(self.inputs), kinds, ends["in"], -100),
            "outputs": self._slots(
                "out", list(self.outputs), described["output"], ends["out"], self._right() + 20
            ),
            "widgets": [],
            "nodes": [self.flow.saved_node(node, inner) for node in self.flow.nodes],
            "groups": [],
            "links": [_link(row) for row in inner],
            "extra": {},
        }

    def flattened(self, number: int, fed: Mapping[str, list[Any]]) -> dict[str, Any]:
        """The inner nodes as `/prompt` takes them, for the outer node `number`.

        fed: input of the subgraph → the link that feeds it.
        """
        graph = self.flow.api(prefix=f"{number}:")
        for name, feeds in self.inputs.items():
            for node, field in feeds:
                if name in fed:
                    graph[f"{number}:{node.number}"]["inputs"][field] = fed[name]
        return graph

    def _type(self, node: Node, name: str) -> str:
        described = self.flow.info[node.kind]["input"]
        fields = described.get("required", {}) | described.get("optional", {})
        return str(fields[name][0])

    def _right(self) -> int:
        return max(node.pos[0] + node.size[0] for node in self.flow.nodes) + 80

    def _slots(
        self, side: str, names: list[str], kinds: list[str], links: list[list[int]], x: int
    ) -> list[dict[str, Any]]:
        return [
            {
                "id": str(uuid.uuid5(_NAMESPACE, f"{self.name}/{side}/{name}")),
                "name": name,
                "type": kind,
                "linkIds": numbers,
                "pos": [x, 20 + 20 * slot],
            }
            for slot, (name, kind, numbers) in enumerate(zip(names, kinds, links, strict=True))
        ]


def _link(row: list[Any]) -> dict[str, Any]:
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return dict(zip(keys, row, strict=True))
