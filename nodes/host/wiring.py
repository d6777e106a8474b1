"""Which outputs of a node are connected, so that only those are computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["wired", "wired_anywhere"]


def wired(dynprompt: Any, node_id: str | None) -> frozenset[int]:
    """Numbers of the outputs of node `node_id` that an input of the running graph is linked to."""
    if dynprompt is None or node_id is None:
        return frozenset()
    nodes = (dynprompt.get_node(other) for other in dynprompt.all_node_ids())
    return frozenset(slot for origin, slot in _links(nodes) if origin == node_id)


def wired_anywhere(kind: str, first: int) -> str:
    """Which outputs from number `first` on are linked, of all nodes of class `kind` that run now.

    ComfyUI answers a node from its cache while the node's inputs are the same, whatever follows
    it. A fingerprint with this text makes the node run again when an output becomes linked that
    was not made. A fingerprint is not told which node it is for.
    """
    import server

    instance = getattr(server.PromptServer, "instance", None)
    queue = getattr(instance, "prompt_queue", None)
    running = list(getattr(queue, "currently_running", {}).values())
    found: set[str] = set()
    for item in running:
        prompt: Mapping[str, Any] = item[2]
        ours = {name for name, node in prompt.items() if node.get("class_type") == kind}
        linked = _links(prompt.values())
        found |= {f"{origin}:{n}" for origin, n in linked if origin in ours and n >= first}
    return " ".join(sorted(found))


def _links(nodes: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, int]]:
    """Node and output number behind every linked input."""
    for node in nodes:
        for value in node.get("inputs", {}).values():
            if isinstance(value, list) and len(value) == 2 and isinstance(value[1], int):
                yield str(value[0]), value[1]
