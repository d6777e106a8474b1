"""Matches the tensors of a model with the base's keys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod

from ..io.source import Source
from .aligned import Segment
from .architecture import Architecture
from .channels import shared_channels
from .markers import is_buffer, is_marker
from .normalize import View
from .remap import Piece, remap
from .setspec import Repairs

__all__ = ["MIN_COVERAGE_FRAC", "Match", "fit", "match"]

MIN_COVERAGE_FRAC = 0.5
"""Below this share of the base's keys a model is a misfit."""

_NORM = re.compile(r"((?:^|\.)[^.]*norm[^.]*(?:\.\d+)?)\.(?:weight|scale)$")


@dataclass(frozen=True)
class Match:
    """A model laid over the base's keys.

    `mismatched`: base key → the model's shape. `unreadable`: base key → stored dtype that is no
    weight. `extra`: the model's keys that the base does not have. `unread`: missing keys that the
    file holds in a quantization which was not to be read. `foreign`: it is another architecture,
    however many names the two share. `depth`, `width`: how the sizes differ, in words. `channels`:
    base key → the model's shape, where only the number of input channels differs.
    """

    view: View
    segments: Mapping[str, tuple[Segment, ...]]
    missing: tuple[str, ...]
    mismatched: Mapping[str, tuple[int, ...]]
    unreadable: Mapping[str, str]
    extra: tuple[str, ...]
    repairs: tuple[str, ...]
    unread: tuple[str, ...] = ()
    foreign: bool = False
    depth: str = ""
    width: str = ""
    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the model is compatible: enough of it fits, and no finding excludes it."""
        return self.coverage_frac >= MIN_COVERAGE_FRAC and not (
            self.unread or self.foreign or self.depth or self.width
        )

    @property
    def coverage_frac(self) -> float:
        """Share of the base's keys that the model holds with the base's shape."""
        total = len(self.segments) + len(self.missing) + len(self.mismatched) + len(self.unreadable)
        return len(self.segments) / total if total else 0.0


def match(
    base: Mapping[str, tuple[int, ...]],
    architecture: Architecture,
    view: View,
    source: Source,
    repairs: Repairs,
    passthrough: Collection[str] = (),
) -> Match:
    """Lay a model over the base's canonical `base` keys (key → shape).

    Keys of `passthrough` (the base's, never merged) do not count as extra.

    If less than half of them are found, the remaps are tried: a prefix learned by comparing names,
    and the base architecture's diffusers naming. The reading with most keys wins.
    """
    lay = partial(
        _match, base, architecture, source=source, repairs=repairs, passthrough=passthrough
    )
    found = lay(view=view)
    if found.coverage_frac >= MIN_COVERAGE_FRAC:
        return found
    tries = (_learned_prefix(base, view, repairs), _forced_diffusers(architecture, view, repairs))
    others = [lay(view=v) for v in tries if v is not None]
    return max([found, *others], key=lambda m: m.coverage_frac)


def _match(
    base: Mapping[str, tuple[int, ...]],
    architecture: Architecture,
    view: View,
    source: Source,
    repairs: Repairs,
    passthrough: Collection[str],
) -> Match:
    pairs, done = _pairs(base, architecture, view.pieces, repairs)
    segments: dict[str, tuple[Segment, ...]] = {}
    mismatched: dict[str, tuple[int, ...]] = {}
    unreadable: dict[str, str] = {}
    channels: dict[str, tuple[int, ...]] = {}
    missing = []
    for key, shape in base.items():
        name = pairs.get(key)
        if name is None:
            missing.append(key)
            continue
        piece = view.pieces[name]
        entries = [source.entries[s.key] for s in piece.segments]
        not_weights = [e.dtype for e in entries if not e.is_float]
        if not_weights:
            unreadable[key] = not_weights[0]
            continue
        fitted = fit(piece, shape, entries[0].padding)
        shared = None if fitted else shared_channels(architecture, key, shape, piece)
        if shared is not None:
            segments[key], channels[key] = shared, piece.shape
        elif fitted is None:
            mismatched[key] = piece.shape
        else:
            segments[key] = fitted
    used = {*pairs.values(), *passthrough}
    state = {n for n in view.pieces if is_marker(n) or is_buffer(n)}
    extra = tuple(name for name in view.pieces if name not in used | state)
    repaired = (*view.repairs, *(r for r in done if r not in view.repairs))
    unread = tuple(key for key in missing if view.prefix + key in source.dropped)
    return Match(
        view,
        segments,
        tuple(missing),
        mismatched,
        unreadable,
        extra,
        repaired,
        unread,
        channels=channels,
    )


def _pairs(
    base: Mapping[str, tuple[int, ...]],
    architecture: Architecture,
    pieces: Mapping[str, Piece],
    repairs: Repairs,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """base key → the model's name for it, and the repairs that found more than equal names did."""
    pairs = {key: key for key in base if key in pieces}
    if len(pairs) == len(base):
        return pairs, ()
    open_keys = [k for k in base if k not in pairs]
    open_names = [n for n in pieces if n not in base]
    steps: list[tuple[str, Callable[[str], str]]] = []
    if architecture.aliases:
        steps.append(("aliases", partial(_alias, architecture)))
    if repairs.fix_norm_names:
        steps.append(("fix_norm_names", lambda k: _NORM.sub(r"\1", _alias(architecture, k))))
    done = []
    for repair, ident in steps:
        names = _unique(ident, open_names)
        wanted = _unique(ident, open_keys)
        new = {key: names[i] for i, key in wanted.items() if i in names}
        if new:
            pairs.update(new)
            done.append(repair)
            open_keys = [k for k in open_keys if k not in new]
    return pairs, tuple(done)


def _alias(architecture: Architecture, key: str) -> str:
    for pattern, replacement in architecture.aliases:
        key = re.sub(pattern, replacement, key)
    return key


def _unique(ident: Callable[[str], str], keys: Iterable[str]) -> dict[str, str]:
    """identity → key, without identities that two keys share: those are never guessed."""
    keys = list(keys)
    counts = Counter(ident(k) for k in keys)
    return {ident(k): k for k in keys if counts[ident(k)] == 1}


def fit(piece: Piece, shape: tuple[int, ...], padding: int) -> tuple[Segment, ...] | None:
    """Segments that give exactly `shape`, or None.

    Axes of length 1 may differ (a linear layer stored as a 1×1 convolution): the elements are the
    same. Block-quantised matrices may be padded to multiples of `padding` (0 = never): that is cut
    off, by rows where columns were padded too.
    """
    if [n for n in piece.shape if n != 1] == [n for n in shape if n != 1]:
        return piece.segments
    alike = len(shape) == len(piece.shape) in (2, 3) and piece.shape[:-2] == shape[:-2]
    if not (padding and alike and len(piece.segments) == 1) or any(
        p not in (s, -(-s // padding) * padding)
        for p, s in zip(piece.shape[-2:], shape[-2:], strict=True)
    ):
        return None
    return tuple(_without_padding(piece, shape))


def _without_padding(piece: Piece, shape: tuple[int, ...]) -> Iterable[Segment]:
    """Segments of a matrix, or of every matrix of a stack of experts, without its padding."""
    key, (height, width) = piece.segments[0].key, piece.shape[-2:]
    rows, cols = shape[-2:]
    for first in range(0, prod(piece.shape), height * width):
        if width == cols:
            yield Segment(key, first, first + rows * cols)
        else:
            starts = range(first, first + rows * width, width)
            yield from (Segment(key, start, start + cols) for start in starts)


def _learned_prefix(
    base: Mapping[str, tuple[int, ...]], view: View, repairs: Repairs
) -> View | None:
    """The view with the prefix that most of the base's keys have in it, or lack in it."""
    if not repairs.fix_prefixes:
        return None
    counts = Counter(_prefixes_between(base, view.pieces))
    if not counts:
        return None
    (strip, add), _ = counts.most_common(1)[0]
    pieces = {add + n[len(strip) :]: p for n, p in view.pieces.items() if n.startswith(strip)}
    done = (*view.repairs, *(() if "fix_prefixes" in view.repairs else ("fix_prefixes",)))
    return View(view.architecture, pieces, view.left_out, done, view.prefix + strip)


def _prefixes_between(base: Iterable[str], names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """(to strip, to add) for every pair of keys of which one ends with the other."""
    keys, known = set(base), set(names)
    for name in known:
        yield from ((name[: -len(tail)], "") for tail in _tails(name) if tail in keys)
    for key in keys:
        yield from (("", key[: -len(tail)]) for tail in _tails(key) if tail in known)


def _tails(key: str) -> Iterable[str]:
    """`b.c` and `c` of `a.b.c`, without the bare last part, which says nothing."""
    parts = key.split(".")
    return (".".join(parts[i:]) for i in range(1, len(parts) - 1))


def _forced_diffusers(architecture: Architecture, view: View, repairs: Repairs) -> View | None:
    naming = architecture.diffusers
    if naming is None or not repairs.remap_diffusers or view.diffusers:
        return None
    pieces, translated = remap(naming, view.pieces)
    if not translated:
        return None
    done = (*view.repairs, "remap_diffusers")
    return View(architecture, pieces, view.left_out, done, view.prefix, diffusers=True)
