"""Translates diffusers names to canonical ones: renames, stacked rows, swapped halves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from .aligned import Segment
from .architecture import DiffusersMap

__all__ = ["Piece", "has_marker", "remap", "whole"]


@dataclass(frozen=True)
class Piece:
    """A canonical tensor: its shape, and the segments of the file that make it up."""

    shape: tuple[int, ...]
    segments: tuple[Segment, ...]


def whole(key: str, shape: tuple[int, ...]) -> Piece:
    """A tensor that is one tensor of the file."""
    return Piece(shape, (Segment(key, 0, prod(shape)),))


def has_marker(naming: DiffusersMap, keys: Iterable[str]) -> bool:
    """Whether a list of keys is in this diffusers naming."""
    marker = re.compile(naming.marker)
    return any(marker.search(key) for key in keys)


def remap(naming: DiffusersMap, pieces: Mapping[str, Piece]) -> tuple[dict[str, Piece], int]:
    """Canonical pieces of a file in diffusers naming, and how many of its keys were translated.

    A key that no rule knows keeps its name, and so does the second of two keys for one place. A
    join with a part missing, or whose parts do not fit, leaves its parts as they are. Nothing is
    lost.
    """
    last = str(_last_block(pieces))
    swaps = [(p.replace("{last}", last), r) for p, r in naming.swaps]
    joined = _joins(naming, pieces)
    used = {part: target for target, parts in joined.items() for part in parts}
    result: dict[str, Piece] = {}
    translated = 0
    for key, piece in pieces.items():
        if key in used:
            target = used[key]
            result.setdefault(target, _stack([pieces[p] for p in joined[target]]))
            translated += 1
            continue
        even = bool(piece.shape) and piece.shape[0] % 2 == 0
        swapped = _first(swaps, key) if even else None
        name = swapped or _renamed(naming, key)
        if name != key and (name in result or name in pieces):
            result[key] = piece  # two keys for one place: the first has it
            continue
        result[name] = _swap(piece) if swapped else piece
        translated += name != key
    return result, translated


def _renamed(naming: DiffusersMap, key: str) -> str:
    name = _first(naming.renames, key) or key
    return _first(naming.inner, name) or name


def _first(rules: Iterable[tuple[str, str]], key: str) -> str | None:
    for pattern, replacement in rules:
        name, count = re.subn(pattern, replacement, key, count=1)
        if count:
            return name
    return None


def _last_block(keys: Iterable[str]) -> int:
    found = (re.match(r"transformer_blocks\.(\d+)\.", key) for key in keys)
    return max((int(m.group(1)) for m in found if m), default=-1)


def _joins(naming: DiffusersMap, pieces: Mapping[str, Piece]) -> dict[str, list[str]]:
    """Canonical key → the file's keys to stack, in order; only complete, fitting and new ones."""
    parts: dict[str, dict[int, str]] = {}
    wanted: dict[str, int] = {}
    for target, patterns in naming.joins.items():
        compiled = [re.compile(p) for p in patterns]
        for key in pieces:
            for position, pattern in enumerate(compiled):
                found = pattern.search(key)
                if found:
                    name = found.expand(target)
                    parts.setdefault(name, {})[position] = key
                    wanted[name] = len(patterns)
    complete = {
        name: [found[i] for i in sorted(found)]
        for name, found in parts.items()
        if len(found) == wanted[name] and name not in pieces
    }
    return {
        n: keys for n, keys in complete.items() if len({pieces[k].shape[1:] for k in keys}) == 1
    }


def _stack(parts: list[Piece]) -> Piece:
    rows = sum(p.shape[0] for p in parts)
    return Piece((rows, *parts[0].shape[1:]), tuple(s for p in parts for s in p.segments))


def _swap(piece: Piece) -> Piece:
    """The second half of the rows before the first; only whole tensors come here."""
    segment = piece.segments[0]
    half = (segment.stop - segment.start) // 2
    middle = segment.start + half
    upper = Segment(segment.key, middle, segment.stop)
    return Piece(piece.shape, (upper, Segment(segment.key, segment.start, middle)))
