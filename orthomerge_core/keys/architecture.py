"""An architecture as data: how to recognise it, and what each of its keys is.

New architecture = one file in `architectures/` that defines `ARCHITECTURE = Architecture(...)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

__all__ = ["LAYER_TYPES", "Architecture", "DiffusersMap"]

LAYER_TYPES = (
    "attention",
    "mlp",
    "norm",
    "modulation",
    "embedding",
    "convolution",
    "projection",
    "other",
)


@dataclass(frozen=True)
class DiffusersMap:
    """How diffusers names this architecture.

    `renames`: (regex on the diffusers key, replacement giving the canonical key), first match wins.
    `joins`: canonical key pattern → ordered diffusers patterns whose rows are stacked (qkv).
    `note`: said to the person where a mapping cannot be streamed.
    """

    renames: Sequence[tuple[str, str]] = ()
    joins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Architecture:
    """Patterns of one architecture; no code.

    `markers`: key → shape pattern (None = any size) that must all be present (after normalisation).
    `absent`: keys whose presence rules it out.
    `blocks`: regexes with one group, the block id ("double_blocks.7"); first match wins; a key that
    matches none belongs to the block named by its first dotted part.
    `layer_types`: (regex, one of LAYER_TYPES), first match wins, else "other".
    """

    name: str
    label: str
    markers: Mapping[str, tuple[int | None, ...] | None]
    blocks: Sequence[str]
    layer_types: Sequence[tuple[str, str]]
    absent: Sequence[str] = ()
    prefixes: Sequence[str] = ()
    diffusers: DiffusersMap | None = None
    priority: int = 0

    def block(self, key: str) -> str:
        """The block a canonical key belongs to."""
        for pattern in _compiled(tuple(self.blocks)):
            found = pattern.search(key)
            if found:
                return found.group(1)
        return key.split(".", 1)[0]

    def layer_type(self, key: str) -> str:
        """What kind of layer a canonical key belongs to; one of `LAYER_TYPES`."""
        patterns = _compiled(tuple(p for p, _ in self.layer_types))
        for pattern, (_, kind) in zip(patterns, self.layer_types, strict=True):
            if pattern.search(key):
                return kind
        return "other"


@lru_cache(maxsize=128)
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(p) for p in patterns)
