"""Depth: how many blocks a model has, and which of them correspond to which of the base's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from ..errors import CompatibilityError, did_you_mean
from .normalize import View
from .remap import Piece

__all__ = ["BlockMap", "apply_block_map", "depth_words", "parse_block_map", "stacks", "width_words"]

_STACK = re.compile(r"(?:^|\.)\w*(?:blocks?|layers?|refiner)\.(\d+)(?=\.)")
_PAIR = re.compile(
    r"(?:(?P<stack>[A-Za-z_][\w.]*)\.)?(?P<a>\d+)(?:-(?P<b>\d+))?"
    r"=(?P<c>\d+)(?:-(?P<d>\d+))?"
)

MAX_BLOCKS = 4096
"""The highest block index that a map may name."""

MAX_MISMATCH_FRAC = 0.5
"""From this share of the blocks' elements on, tensors of another shape make another width."""

BlockMap = Mapping[str, tuple[tuple[int, int], ...]]
"""Stack ("" = the one that differs) → pairs (the model's block, the base's block)."""


def stacks(keys: Iterable[str]) -> dict[str, set[int]]:
    """The stacks of numbered blocks in canonical keys: "double_blocks" → {0, 1, …}.

    A stack within a block has the block in its name ("input_blocks.4.1.transformer_blocks").
    """
    found: dict[str, set[int]] = {}
    for key in keys:
        for match in _STACK.finditer(key):
            found.setdefault(key[: match.start(1) - 1], set()).add(int(match[1]))
    return found


def depth_words(
    base: Iterable[str],
    model: Iterable[str],
    mapped: Iterable[str] = (),
    *,
    parts: bool = False,
) -> str:
    """How the depths differ ("double_blocks: 8, base has 19"), or "" if they agree.

    A file that holds some blocks of the base, not from the first on, is a part of a model and no
    other depth. `parts`: so is a file that holds the first ones (of a model nobody has described).
    `mapped`: stacks that a block map has dealt with.
    """
    ours, theirs = stacks(base), stacks(model)
    done = set(mapped)
    words = []
    for name, held in theirs.items():
        wanted = ours.get(name)
        if not wanted or held == wanted or name in done:
            continue
        from_first = held == set(range(len(held))) and not parts
        if from_first or not held <= wanted:
            words.append(f"{name}: {len(held)}, base has {len(wanted)}")
    more = f" and {len(words) - 3} stacks more" if len(words) > 3 else ""
    return "; ".join(words[:3]) + more


def width_words(
    base: Mapping[str, tuple[int, ...]],
    mismatched: Mapping[str, tuple[int, ...]],
    input_key: str = "",
) -> str:
    """How the widths of the blocks differ, in words, or "" where under half of them does.

    Tensors of another shape outside the blocks, and `input_key` (the first layer), make a variant.
    """
    inside = [k for k in mismatched if _STACK.search(k) and k != input_key]
    total = sum(prod(shape) for k, shape in base.items() if _STACK.search(k))
    share = sum(prod(base[k]) for k in inside) / max(1, total)
    if share < MAX_MISMATCH_FRAC:
        return ""
    key = max(inside, key=lambda k: prod(base[k]))
    return (
        f"{key} is {list(mismatched[key])}, base has {list(base[key])}; "
        f"{share:.0%} of the weights in its blocks have another shape"
    )


def parse_block_map(text: str, place: str = "block_map") -> BlockMap:
    """Read `0-9=0-9, double_blocks.4-7=15-18`: the model's blocks = the base's.

    Raises:
        CompatibilityError: a pair that cannot be read, ranges of different lengths, a block of the
            base that is named twice.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for part in filter(None, (p.strip() for p in re.split(r"[,\n]", text))):
        match = _PAIR.fullmatch(part.replace(" ", ""))
        if not match:
            raise CompatibilityError(
                f'{place}: "{part}" cannot be read',
                expected="the model's blocks = the base's, such as 0-9=0-9",
                fix="Write ranges of block numbers, separated by commas.",
            )
        a, c = int(match["a"]), int(match["c"])
        b, d = int(match["b"] or a), int(match["d"] or c)
        if b - a != d - c or b < a or max(b, d) > MAX_BLOCKS:
            raise CompatibilityError(
                f'{place}: the ranges of "{part}" differ in length',
                expected=f"as many blocks on both sides, up to {MAX_BLOCKS}",
                received=f"{b - a + 1} and {d - c + 1}",
            )
        found.setdefault(match["stack"] or "", []).extend(
            zip(range(a, b + 1), range(c, d + 1), strict=True)
        )
    for pairs in found.values():
        targets = [to for _, to in pairs]
        twice = next((to for to in targets if targets.count(to) > 1), None)
        if twice is not None:
            raise CompatibilityError(
                f"{place}: block {twice} of the base is named twice",
                fix="Give every block of the base one block of the model.",
            )
    return {name: tuple(pairs) for name, pairs in found.items()}


@dataclass(frozen=True)
class _Target:
    """A stack and its pairs."""

    stack: str
    pairs: tuple[tuple[int, int], ...]


def apply_block_map(
    view: View, base: Iterable[str], block_map: BlockMap
) -> tuple[View, tuple[str, ...]]:
    """The view with its blocks under the base's numbers, and the names of the stacks mapped.

    Blocks that the map does not name are left out. Nothing is read or copied.

    Raises:
        CompatibilityError: a stack or a block that does not exist, or a stack that must be named.
    """
    base = list(base)
    pieces, names = dict(view.pieces), []
    ours, theirs = stacks(base), stacks(pieces)
    unnamed: list[str] = []
    for name, pairs in block_map.items():
        target = _Target(name or _the_one(ours, theirs), pairs)
        _check(target, ours, theirs)
        pieces, left = _moved(pieces, target)
        unnamed += left
        names.append(target.stack)
    left_out = dict(view.left_out)
    if unnamed:
        left_out["not named in the block map"] = tuple(unnamed)
    return replace(view, pieces=pieces, left_out=left_out), tuple(names)


def _the_one(ours: Mapping[str, set[int]], theirs: Mapping[str, set[int]]) -> str:
    """The stack that a map without a name means: the one whose depth differs, or the only one."""
    both = [n for n in theirs if n in ours]
    outer = [n for n in both if "." not in n] or both
    differ = [n for n in outer if ours[n] != theirs[n]]
    chosen = differ if differ else outer
    if len(chosen) != 1:
        raise CompatibilityError(
            "block_map: it is not clear which stack of blocks is meant",
            received=", ".join(chosen) or "a model without blocks in common with the base",
            fix=f"Name it: {chosen[0] if chosen else 'blocks'}.0-9=0-9.",
        )
    return chosen[0]


def _check(target: _Target, ours: Mapping[str, set[int]], theirs: Mapping[str, set[int]]) -> None:
    for held, side, place in ((theirs, 0, "the model"), (ours, 1, "the base")):
        if target.stack not in held:
            raise CompatibilityError(
                f'block_map: {place} has no stack "{target.stack}"',
                fix=did_you_mean(target.stack, list(held)),
            )
        absent = next((p[side] for p in target.pairs if p[side] not in held[target.stack]), None)
        if absent is not None:
            raise CompatibilityError(
                f"block_map: {place} has no block {target.stack}.{absent}",
                expected=f"0 to {max(held[target.stack])}",
                received=absent,
            )


def _moved(pieces: Mapping[str, Piece], target: _Target) -> tuple[dict[str, Piece], list[str]]:
    """The pieces of one stack under the base's numbers, and the file's keys of unnamed blocks."""
    pattern = re.compile(re.escape(target.stack) + r"\.(\d+)\.")
    found: dict[str, Piece] = {}
    left: list[str] = []
    for name, piece in pieces.items():
        match = pattern.match(name)
        if not match:
            found[name] = piece
            continue
        places = [to for block, to in target.pairs if block == int(match[1])]
        for to in places:
            found[f"{target.stack}.{to}.{name[match.end() :]}"] = piece
        if not places:
            left += [s.key for s in piece.segments]
    return found, left
