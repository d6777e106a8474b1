"""Removes the padding from a quantized base whose layers were rounded up in size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..io.source import Source
from .match import Match, fit
from .normalize import View
from .remap import Piece

__all__ = ["without_padding"]


def without_padding(base: Source, view: View, found: Sequence[tuple[Source, Match]]) -> View:
    """The base's view with padded tensors cut to the one shape that all unpadded models have.

    Such a base (nvfp4, mxfp8) does not store its true sizes. Where the models that do disagree, or
    one of them has the padded size, the tensor stays as it is.
    """
    pieces = {}
    for key, piece in view.pieces.items():
        padding = base.entries[piece.segments[0].key].padding
        shapes = _shapes(key, piece, padding, found) if padding else set()
        shape = shapes.pop() if len(shapes) == 1 else piece.shape
        segments = fit(piece, shape, padding)
        if shape != piece.shape and segments is not None:
            pieces[key] = Piece(shape, segments)
    return replace(view, pieces={**view.pieces, **pieces}) if pieces else view


def _shapes(
    key: str, piece: Piece, padding: int, found: Sequence[tuple[Source, Match]]
) -> set[tuple[int, ...]]:
    """The shapes that models without padding have there, of those that padding may have hidden."""
    shapes = set()
    for source, match in found:
        run, other = match.segments.get(key, ()), match.mismatched.get(key)
        if other is not None and fit(piece, other, padding) is not None:
            shapes.add(other)
        elif run and not source.entries[run[0].key].padding:
            shapes.add(piece.shape)
    return shapes
