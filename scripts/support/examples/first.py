"""The first things a person opens: few nodes, readable as the page opens, and two pictures."""

from __future__ import annotations

from typing import Any

from ..family import CLIP_FILE, VAE_FILE
from ..subgraph import Subgraph
from ..workflow import Group, Node
from .pieces import SIZE_PX, Studio

__all__ = ["app_mode", "quickstart"]

PROMPT = "a red circle"
PLACES: dict[str, tuple[int, int, int, int]] = {
    "note": (0, 0, 340, 150),
    "set": (0, 200, 340, 250),
    "pick": (0, 490, 340, 120),
    "picture": (0, 650, 340, 200),
    "mixer": (370, 0, 700, 450),
    "merged": (1100, 0, 380, 450),
    "before": (370, 500, 380, 360),
    "after": (780, 500, 380, 360),
}
"""Node → x, y, width and height: all of it fits a window of 1600 × 1000 at 100 %."""


def quickstart(flow: Studio) -> None:
    """Two fine-tunes of one base become one model: base and merge side by side."""
    _first(flow)


def app_mode(flow: Studio) -> None:
    """The quickstart as a form: models, table and prompt on the left, both pictures beside it."""
    nodes = _first(flow)
    chosen = (("set", "base"), ("set", "models"), ("mixer", "method"), ("mixer", "table"))
    inputs = [[nodes[name].number, widget] for name, widget in chosen]
    outputs = [nodes[name].number for name in ("before", "after")]
    flow.extra |= {"linearMode": True, "linearData": {"inputs": inputs, "outputs": outputs}}


def _first(flow: Studio) -> dict[str, Node]:
    picked = flow.models("paint", "photo")
    base = flow.add("OrthoPickModel", "The base alone", models=picked, name="base")
    mixer = flow.add("OrthoMixer", models=picked)
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    picture = _two_pictures(flow, base, merged)
    before = flow.add("SaveImage", "Base", images=picture[0], filename_prefix="OrthoMerge/base")
    after = flow.add("SaveImage", "Merge", images=picture[1], filename_prefix="OrthoMerge/merge")
    note = flow.note(
        "**Run** draws one prompt with the base and with the merge. *paint* learned stripes, "
        "*photo* a sunset; the merge has both. Change a number in the table and run again."
    )
    nodes = {
        "note": note, "set": picked, "pick": base, "picture": picture, "mixer": mixer,
        "merged": merged, "before": before, "after": after,
    }  # fmt: skip
    for name, (x, y, width, height) in PLACES.items():
        nodes[name].pos, nodes[name].size = (x, y), (width, height)
    flow.scale, flow.offset = 1.0, (90, 130)
    flow.groups = [Group("Merge two models", "", [], (-20, -80, 1520, 960))]
    return nodes


def _two_pictures(flow: Studio, base: Node, merged: Node) -> Node:
    """One prompt and one seed for two models, in one node."""
    inner = Studio(flow.info)
    clip = inner.add("CLIPLoader", clip_name=CLIP_FILE, type="sd3")
    vae = inner.add("VAELoader", vae_name=VAE_FILE)
    size = inner.add("EmptySD3LatentImage", width=SIZE_PX, height=SIZE_PX)
    yes = inner.add("CLIPTextEncode", "Prompt", text=PROMPT, clip=clip)
    no = inner.add("CLIPTextEncode", "Negative prompt", text="", clip=clip)
    pairs = []
    for name in ("Base", "Merge"):
        sampler = inner.add(
            "KSampler", name, positive=yes, negative=no, latent_image=size, seed=21, steps=20,
            cfg=2.0, sampler_name="euler", scheduler="simple",
        )  # fmt: skip
        pairs.append((sampler, inner.add("VAEDecode", samples=sampler, vae=vae)))
    for column, nodes in enumerate(([clip, vae, size], [yes, no], [p[0] for p in pairs])):
        _stack(nodes, 420 * column)
    _stack([p[1] for p in pairs], 3 * 420, gap=300)
    ends: dict[str, Any] = {"base": pairs[0], "merge": pairs[1]}
    made = Subgraph(
        "One prompt, two models",
        inner,
        {name: [(sampler, "model")] for name, (sampler, _) in ends.items()},
        {name: (decoded, 0) for name, (_, decoded) in ends.items()},
        [(yes, "text")],
    )
    return flow.subgraph(made, (340, 190), base=base, merge=merged)


def _stack(nodes: list[Node], x: int, gap: int = 60) -> None:
    y = 0
    for node in nodes:
        node.pos = (x, y)
        y += node.size[1] + gap
