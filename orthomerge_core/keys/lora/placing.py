"""Places the changes of a LoRA's layers in the base's weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from ...io.source import Source
from ..aligned import Segment
from ..architecture import Architecture, DiffusersMap
from ..components import DIFFUSION, component_of
from ..parts import TO_OPENCLIP
from ..remap import Piece, remap
from .decomposed import fits, is_decomposed
from .factors import Module, shape_of
from .names import layer_names, target

__all__ = ["Place", "Placed", "place"]


@dataclass(frozen=True)
class Place:
    """`count` elements of a module's change, from `source` on, belong to the weight at `start`."""

    module: str
    start: int
    source: int
    count: int
    bias: bool = False


@dataclass(frozen=True)
class Placed:
    """`places`: the base's canonical key → what changes it. `unknown`: modules of no known layer.
    `misfits`: modules of another size than the base's layer."""

    places: Mapping[str, Sequence[Place]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()


def place(
    found: Mapping[str, Module],
    source: Source,
    architecture: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
) -> Placed:
    """Find the base's weight of every module; `shapes`: the base's merged keys.

    A layer that the base stores stacked with others (q, k and v) is a range of that weight's rows.
    """
    layers = layer_names(architecture, shapes)
    components = dict.fromkeys(component_of(key) for key in shapes)
    places: dict[str, list[Place]] = {}
    unknown: list[str] = []
    misfits: list[str] = []
    for name, module in found.items():
        size = shape_of(module, source)
        where = target(name, layers, components) if size or module.biases else None
        runs = [] if where is None else list(_runs(where, size, module, architecture, shapes))
        if not runs:
            unknown.append(name)
        for key, run in runs:
            beyond = run.start < 0 or run.start + run.count > prod(shapes[key])
            if beyond or not _whole_lengths(module, source, size, run):
                misfits.append(name)
            else:
                places.setdefault(key, []).append(run)
    return Placed(places, tuple(unknown), tuple(misfits))


def _whole_lengths(
    module: Module, source: Source, size: tuple[int, int] | None, run: Place
) -> bool:
    """Whether a DoRA's lengths can be set: its weight lies in one piece, and they are as many."""
    if run.bias or size is None or not is_decomposed(module):
        return True
    return run.source == 0 and run.count == prod(size) and fits(module, source, size)


def _runs(
    where: tuple[str, str],
    size: tuple[int, int] | None,
    module: Module,
    architecture: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
) -> Iterable[tuple[str, Place]]:
    component, layer = where
    lead = "" if component == DIFFUSION else f"{component}."
    naming = architecture.diffusers if component == DIFFUSION else TO_OPENCLIP
    if size is not None and f"{lead}{layer}" in shapes:  # a parameter that is no layer's weight
        yield (
            f"{lead}{layer}",
            _whole(Segment(module.name, 0, prod(size)), shapes[f"{lead}{layer}"]),
        )
    elif size is not None:
        piece = Piece(size, (Segment(module.name, 0, prod(size)),))
        yield from _weight(f"{lead}{layer}.weight", piece, naming, shapes)
    bias = f"{lead}{layer}.bias"
    if module.biases and bias in shapes:
        yield bias, Place(module.name, 0, 0, prod(shapes[bias]), bias=True)


def _weight(
    key: str, piece: Piece, naming: DiffusersMap | None, shapes: Mapping[str, tuple[int, ...]]
) -> Iterable[tuple[str, Place]]:
    (segment,) = piece.segments
    if key in shapes:
        yield key, _whole(segment, shapes[key])
        return
    if naming is None:
        return
    joined = _joined(naming, key)
    if joined is not None:
        name, position, parts = joined
        if name in shapes:
            rows, cols = piece.shape
            last = position == parts - 1 and parts > 3
            first = shapes[name][0] - rows if last else position * rows
            yield name, Place(segment.key, first * cols, 0, segment.stop)
        return
    renamed, _ = remap(naming, {key: piece})
    for name, moved in renamed.items():
        if name not in shapes:
            continue
        start = 0
        for run in moved.segments:
            yield name, Place(run.key, start, run.start, run.stop - run.start)
            start += run.stop - run.start


def _whole(segment: Segment, shape: tuple[int, ...]) -> Place:
    """A change of the whole weight; one of another size ends behind it, and is a misfit."""
    same = segment.stop == prod(shape)
    return Place(segment.key, 0 if same else -1, 0, segment.stop)


def _joined(naming: DiffusersMap, key: str) -> tuple[str, int, int] | None:
    """(canonical key, place among its parts, number of parts) of a layer that is stored stacked."""
    for name, patterns in naming.joins.items():
        for position, pattern in enumerate(patterns):
            found = re.search(pattern, key)
            if found:
                return found.expand(name), position, len(patterns)
    return None
