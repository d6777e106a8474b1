"""Workflows as ComfyUI saves them, and their API twins, from one description.

Slots, widgets and defaults come from the running host's `/object_info`, so that a workflow fits the
nodes as they are.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .subgraph import Subgraph

__all__ = ["Flow", "Group", "Node"]

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
NOTE = "MarkdownNote"
SIZES: Mapping[str, tuple[int, int]] = {
    "CLIPLoader": (360, 130),
    "CLIPTextEncode": (360, 110),
    "CompatibilityFix": (380, 640),
    "DeltaBaseOptimizer": (400, 640),
    "DeltaGramAnalyzer": (400, 560),
    "EmptySD3LatentImage": (360, 130),
    "KSampler": (340, 290),
    "LoraLoaderModelOnly": (380, 100),
    "OrthoAddModel": (380, 100),
    "OrthoExtractLoRA": (380, 420),
    "OrthoGrid": (380, 240),
    "OrthoGridPicture": (420, 420),
    "OrthoMergeExecute": (380, 500),
    "OrthoMergeSave": (380, 480),
    "OrthoMixer": (880, 580),
    "OrthoModelSet": (380, 300),
    "OrthoPickModel": (340, 80),
    "OrthoPictureScore": (340, 120),
    "OrthoRecipe": (420, 420),
    "OrthoTune": (380, 380),
    "OrthoTuneResult": (420, 520),
    "PreviewAny": (420, 220),
    "PreviewImage": (400, 320),
    "SaveImage": (340, 380),
    "UNETLoader": (380, 100),
    "VAEDecode": (340, 60),
    "VAELoader": (360, 70),
}
TITLE, GAP, PADDING, HEADER = 30, 30, 20, 50
LEFT, TOP, COLOUR = 40, 40, "#3f789e"
_NAMESPACE = uuid.UUID("6b0f1b62-7a5e-4c7e-9f0e-0a1d5a3c2e01")


@dataclass(eq=False)
class Node:
    """A node; `node[1]` is its second output, `node` its first, as an input of another."""

    number: int
    kind: str
    title: str | None
    size: tuple[int, int]
    inputs: Mapping[str, Any]
    pos: tuple[int, int] = (0, 0)

    def __getitem__(self, slot: int) -> tuple[Node, int]:
        return self, slot


@dataclass
class Group:
    """A titled box: a note over columns of nodes."""

    title: str
    note: str
    columns: Sequence[Sequence[Node]]
    box: tuple[int, int, int, int] = field(default=(0, 0, 0, 0))


class Flow:
    """Nodes, and groups of them in towers. `info` is the host's `/object_info`."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        self.info = dict(info)
        self.subgraphs: dict[str, Subgraph] = {}
        self.scale, self.offset = 0.5, (60, 80)
        self.extra: dict[str, Any] = {}
        self.nodes: list[Node] = []
        self.groups: list[Group] = []

    def add(
        self,
        kind: str,
        title: str | None = None,
        size: tuple[int, int] | None = None,
        **inputs: Any,
    ) -> Node:
        """One more node; inputs that are not given keep their defaults."""
        node = Node(len(self.nodes) + 1, kind, title, size or SIZES[kind], inputs)
        self.nodes.append(node)
        return node

    def note(self, text: str, width: int = 340) -> Node:
        """A text beside the nodes."""
        return self.add(NOTE, size=(width, _note_height(text, width)), text=text)

    def subgraph(self, made: Subgraph, size: tuple[int, int], **inputs: Any) -> Node:
        """One more node that stands for a subgraph."""
        self.subgraphs[made.kind] = made
        self.info[made.kind] = made.described()
        return self.add(made.kind, made.name, size, **inputs)

    def lay_out(self, *towers: Sequence[Group]) -> None:
        """Give every node its place: towers from left to right, their groups from top to bottom."""
        left = LEFT
        for tower in towers:
            top, widest = TOP, left
            for group in tower:
                right, bottom = self._place(group, left, top)
                top, widest = bottom + GAP, max(widest, right)
            left = widest + GAP
        self.groups = [group for tower in towers for group in tower]

    def _place(self, group: Group, left: int, top: int) -> tuple[int, int]:
        widths = [max(node.size[0] for node in column) for column in group.columns]
        inner = sum(widths) + GAP * (len(widths) - 1)
        note = self.note(group.note, inner)
        x, y = left + PADDING, top + HEADER + TITLE
        note.pos = (x, y)
        start = bottom = y + note.size[1] + GAP + TITLE
        for column, width in zip(group.columns, widths, strict=True):
            y = start
            for node in column:
                node.pos = (x, y)
                y += node.size[1] + GAP + TITLE
            bottom, x = max(bottom, y), x + width + GAP
        right, low = left + inner + 2 * PADDING, bottom - GAP - TITLE + PADDING
        group.box = (left, top, right - left, low - top)
        return right, low

    def api(self, prefix: str = "") -> dict[str, Any]:
        """What `/prompt` takes; every key begins with `prefix`."""
        graph: dict[str, Any] = {}
        for node in self.nodes:
            if node.kind == NOTE:
                continue
            links = {name: self._source(*link, prefix) for name, link in self._links(node).items()}
            if node.kind in self.subgraphs:
                graph |= self.subgraphs[node.kind].flattened(node.number, links)
                continue
            title = node.title or self.info[node.kind]["display_name"] or node.kind
            graph[f"{prefix}{node.number}"] = {
                "class_type": node.kind,
                "inputs": dict(self._values(node)) | links,
                "_meta": {"title": title},
            }
        return graph

    def _source(self, node: Node, slot: int, prefix: str) -> list[Any]:
        """A link as `/prompt` has it; a subgraph's output is that of the node inside."""
        if node.kind not in self.subgraphs:
            return [f"{prefix}{node.number}", slot]
        inner, inner_slot = list(self.subgraphs[node.kind].outputs.values())[slot]
        return [f"{prefix}{node.number}:{inner.number}", inner_slot]

    def link_rows(self) -> list[list[Any]]:
        """Every link as a workflow holds it: number, source, slot, target, slot, type."""
        return [
            [number, source.number, slot, node.number, self.socket(node, field_), kind]
            for number, (node, field_, source, slot, kind) in enumerate(self._all_links(), start=1)
        ]

    def socket(self, node: Node, name: str) -> int:
        """The number of an input among the sockets of its node."""
        return self._sockets(node).index(name)

    def saved(self, name: str) -> dict[str, Any]:
        """What the browser loads."""
        links = self.link_rows()
        found = {
            "id": str(uuid.uuid5(_NAMESPACE, name)),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(links),
            "nodes": [self.saved_node(node, links) for node in self.nodes],
            "links": links,
            "groups": [_saved_group(number, g) for number, g in enumerate(self.groups, start=1)],
            "config": {},
            "extra": {"ds": {"scale": self.scale, "offset": list(self.offset)}, **self.extra},
            "version": 0.4,
        }
        if self.subgraphs:
            found["definitions"] = {"subgraphs": [s.saved() for s in self.subgraphs.values()]}
        return found

    def saved_node(self, node: Node, links: list[list[Any]]) -> dict[str, Any]:
        """A node as a workflow holds it, with all links of its graph."""
        saved: dict[str, Any] = {
            "id": node.number,
            "type": node.kind,
            "pos": list(node.pos),
            "size": list(node.size),
            "flags": {},
            "order": node.number - 1,
            "mode": 0,
            "inputs": [self._saved_input(node, i, links) for i in range(len(self._sockets(node)))],
            "outputs": self._saved_outputs(node, links),
            "properties": {} if node.kind == NOTE else {"Node name for S&R": node.kind},
            "widgets_values": self._widget_values(node),
        }
        if node.kind in self.subgraphs:
            saved["properties"] = self.subgraphs[node.kind].properties()
        if node.kind == NOTE:
            saved |= {"title": "Note", "color": "#432", "bgcolor": "#653"}
        elif node.title:
            saved["title"] = node.title
        return saved

    def _saved_input(self, node: Node, index: int, links: list[list[Any]]) -> dict[str, Any]:
        name = self._sockets(node)[index]
        link = next(
            (n for n, _, _, to, slot, _ in links if (to, slot) == (node.number, index)), None
        )
        kind, optional = self._fields(node)[name][0], name in self._optional(node)
        return {"name": name, "type": kind, "link": link} | ({"shape": 7} if optional else {})

    def _saved_outputs(self, node: Node, links: list[list[Any]]) -> list[dict[str, Any]]:
        if node.kind == NOTE:
            return []
        described = self.info[node.kind]
        outputs = []
        for slot, (name, kind) in enumerate(
            zip(described["output_name"], described["output"], strict=True)
        ):
            out = [link[0] for link in links if (link[1], link[2]) == (node.number, slot)]
            outputs.append({"name": name, "type": kind, "links": out or None})
        return outputs

    def _widget_values(self, node: Node) -> list[Any]:
        if node.kind == NOTE:
            return [node.inputs["text"]]
        values: list[Any] = []
        for name, value in self._values(node):
            values.append(value)
            # ComfyUI's page puts a choice after a seed unless its schema says no.
            seed = name in ("seed", "noise_seed")
            if self._fields(node)[name][1].get("control_after_generate", seed):
                values.append("fixed")
        return values

    def _values(self, node: Node) -> list[tuple[str, Any]]:
        """Every widget of a node with its value, in the schema's order."""
        fields = self._fields(node)
        unknown = set(node.inputs) - set(fields)
        if unknown:
            raise ValueError(f"{node.kind} has no input {sorted(unknown)}")
        return [
            (name, node.inputs.get(name, _default(kind, options)))
            for name, (kind, options) in fields.items()
            if _is_widget(kind, options)
        ]

    def _links(self, node: Node) -> dict[str, tuple[Node, int]]:
        given = node.inputs if node.kind != NOTE else {}
        links = {n: v[0] if isinstance(v, Node) else v for n, v in given.items() if _is_link(v)}
        return links

    def _all_links(self) -> list[tuple[Node, str, Node, int, str]]:
        return [
            (node, name, source, slot, self.info[source.kind]["output"][slot])
            for node in self.nodes
            for name, (source, slot) in self._links(node).items()
        ]

    def _fields(self, node: Node) -> dict[str, tuple[Any, dict[str, Any]]]:
        if node.kind == NOTE:
            return {}
        described = self.info[node.kind]["input"]
        fields = described.get("required", {}) | described.get("optional", {})
        return {name: (s[0], s[1] if len(s) > 1 else {}) for name, s in fields.items()}

    def _optional(self, node: Node) -> Mapping[str, Any]:
        return dict(self.info[node.kind]["input"].get("optional", {}))

    def _sockets(self, node: Node) -> list[str]:
        return [
            name
            for name, (kind, options) in self._fields(node).items()
            if not _is_widget(kind, options)
        ]


def _is_widget(kind: Any, options: Mapping[str, Any]) -> bool:
    return (isinstance(kind, list) or kind in WIDGETS) and not options.get("forceInput")


def _is_link(value: Any) -> bool:
    return isinstance(value, Node) or (isinstance(value, tuple) and isinstance(value[0], Node))


def _default(kind: Any, options: Mapping[str, Any]) -> Any:
    if "default" in options:
        return options["default"]
    choices = kind if isinstance(kind, list) else options.get("options")
    return choices[0] if choices else ""


def _note_height(text: str, width: int) -> int:
    lines = -(-len(text) * 8 // (width - 30))
    return 50 + 21 * lines


def _saved_group(number: int, group: Group) -> dict[str, Any]:
    return {
        "id": number,
        "title": group.title,
        "bounding": list(group.box),
        "color": COLOUR,
        "font_size": 24,
        "flags": {},
    }
