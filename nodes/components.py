"""CLIP and VAE beside a MODEL: which a set can provide, and why not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from comfy_api.latest import io

from ..orthomerge_core.keys.components import TEXT_ENCODER, VAE
from . import host

__all__ = ["NOT_MADE", "PARTS", "part_outputs", "why_absent", "wired_parts"]

_HOLDS: Mapping[str, Callable[[str], bool]] = {
    "clip": lambda name: name.startswith(TEXT_ENCODER),
    "vae": lambda name: name == VAE,
}
PARTS = tuple(_HOLDS)
"""What a checkpoint gives beside its MODEL, in the order of the outputs."""
NOT_MADE = "ComfyUI did not recognize this component of the checkpoint."


def part_outputs(whose: str) -> list[Any]:
    """The outputs CLIP and VAE. whose: "of the merge", "of that model"."""
    when = "where the base is a full checkpoint. Made only when something is connected here."
    return [
        io.Clip.Output(display_name="CLIP", tooltip=f"The text encoders {whose}, {when}"),
        io.Vae.Output(display_name="VAE", tooltip=f"The VAE {whose}, {when}"),
    ]


def wired_parts(hidden: Any, first: int) -> tuple[str, ...]:
    """The parts whose outputs are connected. first: number of the output CLIP; VAE follows it."""
    slots = host.wired(hidden.dynprompt, hidden.unique_id)
    return tuple(part for number, part in enumerate(PARTS, start=first) if number in slots)


def why_absent(part: str, components: Collection[str], *, takes_all: bool) -> str:
    """Why a set with these components gives no such part; empty where it does.

    takes_all: whether the set takes more of its files than their diffusion models.
    """
    if any(_HOLDS[part](name) for name in components):
        return ""
    if not takes_all:
        return (
            f"Only the diffusion models of these files are taken, so there is no {part.upper()}. "
            "Choose the components that the base has, or connect a loader."
        )
    what = "text encoder" if part == "clip" else "VAE"
    return f"The base holds no {what}. Connect a loader of {part.upper()} instead."
