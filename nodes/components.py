"""CLIP and VAE beside a MODEL: which a set can provide, and why not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..orthomerge_core.keys.components import TEXT_ENCODER, VAE
from . import host

__all__ = ["PARTS", "Loaded", "load_parts", "part_outputs", "why_absent", "wired_parts"]

_HOLDS: Mapping[str, Callable[[str], bool]] = {
    "clip": lambda name: name.startswith(TEXT_ENCODER),
    "vae": lambda name: name == VAE,
}
PARTS = tuple(_HOLDS)
"""What a checkpoint gives beside its MODEL, in the order of the outputs."""
_NOT_MADE = "ComfyUI did not recognize this component of the checkpoint."


@dataclass(frozen=True)
class Loaded:
    """A MODEL with the parts that were asked for. `absent`: why one of them is not there."""

    model: Any
    clip: Any = None
    vae: Any = None
    absent: Mapping[str, str] = field(default_factory=dict)


def load_parts(
    weights: dict[str, Tensor],
    metadata: Mapping[str, str],
    reasons: Mapping[str, str],
    *,
    whole: bool,
) -> Loaded:
    """Load a MODEL and the parts that were asked for from a state dict.

    reasons: each part that was asked for → why the weights hold none, or "" (see `why_absent`).
    whole: whether the weights are those of a checkpoint.
    """
    absent = {part: reason for part, reason in reasons.items() if reason}
    if not whole:
        return Loaded(host.load_model(weights, metadata), absent=absent)
    wanted = {part: reasons.get(part) == "" for part in PARTS}
    made = host.load_checkpoint(weights, metadata, **wanted)
    found = {part: getattr(made, part) for part in PARTS}
    absent |= {part: _NOT_MADE for part, on in wanted.items() if on and found[part] is None}
    return Loaded(made.model, **found, absent=absent)


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
