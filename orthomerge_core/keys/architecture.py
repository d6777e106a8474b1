"""An architecture as data: how to recognize it, and what each of its keys is.

New architecture = one file in `architectures/` that defines `ARCHITECTURE = Architecture(...)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from .components import DIFFUSION, Component, component_of, part_block, part_layer_type

__all__ = ["LAYER_TYPES", "Architecture", "DiffusersMap"]

LAYER_TYPES = (
    "attention",
    "mlp",
    "attention+mlp",
    "norm",
    "modulation",
    "embedding",
    "convolution",
    "projection",
    "other",
)


@dataclass(frozen=True)
class DiffusersMap:
    """How diffusers names this architecture. Everything in it can be streamed.

    `marker`: regex; a file in this naming has a key that matches.
    `renames`: (regex on the diffusers key, replacement giving the canonical key), first match wins;
    a key that matches none keeps its name.
    `inner`: a second such table, on the result of the first: names inside a block.
    `joins`: canonical replacement → regexes of the diffusers keys whose rows are stacked, in order
    (q, k, v); the groups of each regex fill the replacement.
    `swaps`: like `renames`, for tensors whose upper and lower half of rows change places (diffusers
    stores scale before shift in its last modulation). `{last}` in a regex stands for the index of
    the last transformer block.
    `note`: said to the person where something of the naming cannot be streamed.
    """

    marker: str
    renames: Sequence[tuple[str, str]] = ()
    inner: Sequence[tuple[str, str]] = ()
    joins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    swaps: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True)
class Architecture:
    """Patterns of one architecture; no code.

    `markers`: key → shape pattern (None = any size) that must all be present (after normalization).
    `absent`: keys whose presence rules it out.
    `blocks`: regexes with one group, the block id ("double_blocks.7"); first match wins; a key that
    matches none belongs to the block named by its first dotted part.
    `layer_types`: (regex, one of LAYER_TYPES), first match wins, else "other".
    `prefixes`: key prefixes of this architecture's files beyond the usual ones.
    `aliases`: (regex, replacement) under which two spellings of one key become equal.
    `input_key`: the first layer, whose second axis counts input channels; `variants`: what a model
    with that many input channels is called ({9: "inpaint variant"}). `extra_channels_last`: whether
    variants have their further channels behind those that all have.
    `priority`: a higher one is tried first.
    `components`: how its checkpoints store text encoders and VAE. `marks_prediction`: whether
    marker tensors tell ComfyUI what a file predicts (`v_pred`, `ztsnr`).
    `axes`: (regex on a key, its axes: 1 where the axis has length 1, None where any), for keys
    whose axes a GGUF file may lose.
    `modelspec`: what ModelSpec calls the architecture; `modelspec_variants`: (that word, a key, its
    shape pattern or None for any) of variants with a word of their own, first match wins.
    """

    name: str
    label: str
    markers: Mapping[str, tuple[int | None, ...] | None]
    blocks: Sequence[str]
    layer_types: Sequence[tuple[str, str]]
    absent: Sequence[str] = ()
    prefixes: Sequence[str] = ()
    aliases: Sequence[tuple[str, str]] = ()
    diffusers: DiffusersMap | None = None
    input_key: str = ""
    variants: Mapping[int, str] = field(default_factory=dict)
    extra_channels_last: bool = False
    priority: int = 0
    components: Sequence[Component] = ()
    axes: Sequence[tuple[str, tuple[int | None, ...]]] = ()
    marks_prediction: bool = False
    modelspec: str = ""
    modelspec_variants: Sequence[tuple[str, str, tuple[int | None, ...] | None]] = ()

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether canonical `shapes` carry all markers and nothing that rules it out."""
        if any(key in shapes for key in self.absent):
            return False
        return all(
            key in shapes and _same(shapes[key], wanted) for key, wanted in self.markers.items()
        )

    def modelspec_of(self, shapes: Mapping[str, tuple[int, ...]]) -> str:
        """ModelSpec's word for a model with these canonical `shapes`; our own name without one."""
        for word, key, wanted in self.modelspec_variants:
            if key in shapes and _same(shapes[key], wanted):
                return word
        return self.modelspec or self.name.replace("_", "-")

    def block(self, key: str) -> str:
        """The block a canonical key belongs to."""
        if component_of(key) != DIFFUSION:
            return part_block(key)
        for pattern in _compiled(tuple(self.blocks)):
            found = pattern.search(key)
            if found:
                return found.group(1)
        return key.split(".", 1)[0]

    def layer_type(self, key: str) -> str:
        """What kind of layer a canonical key belongs to; one of `LAYER_TYPES`."""
        if component_of(key) != DIFFUSION:
            return part_layer_type(key)
        patterns = _compiled(tuple(p for p, _ in self.layer_types))
        for pattern, (_, kind) in zip(patterns, self.layer_types, strict=True):
            if pattern.search(key):
                return kind
        return "other"


def _same(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        w is None or s == w for s, w in zip(shape, wanted, strict=True)
    )


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(p) for p in patterns)
