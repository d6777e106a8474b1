"""Restores axes that a container dropped or added: a GGUF base gets the shapes ComfyUI expects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ..errors import CompatibilityError
from ..io.source import Source
from .architecture import Architecture
from .normalize import View
from .remap import Piece

__all__ = ["with_axes"]

Template = tuple[int | None, ...]


def with_axes(
    base: Source, view: View, known: Architecture, models: Sequence[tuple[Source, View]]
) -> View:
    """The base's view with the axes of length 1 that its GGUF file dropped or added put right.

    The architecture's own shapes decide; where it states none, or they do not fit, a model of the
    set in another container that has as many elements there. Elements stay where they are, so
    nothing is read or copied. Other containers keep their axes and are left alone.

    Raises:
        CompatibilityError: a tensor that contradicts its architecture and cannot be restored.
    """
    if not _is_gguf(base):
        return view
    others = [v for source, v in models if not _is_gguf(source)]
    pieces = {}
    for key, piece in view.pieces.items():
        shape = _shape(key, piece, _template(known, key), others, base)
        if shape != piece.shape:
            pieces[key] = Piece(shape, piece.segments)
    return replace(view, pieces={**view.pieces, **pieces}) if pieces else view


def _is_gguf(source: Source) -> bool:
    return source.name.lower().endswith(".gguf")


def _template(known: Architecture, key: str) -> Template | None:
    """What the architecture says of a key's axes; `None` in it stands for any length."""
    return next((t for pattern, t in known.axes if re.search(pattern, key)), None)


def _shape(
    key: str, piece: Piece, template: Template | None, others: Sequence[View], base: Source
) -> tuple[int, ...]:
    if template is not None and _agrees(piece.shape, template):
        return piece.shape
    restored = _restored(piece.shape, template) if template is not None else None
    if restored is not None:
        return restored
    for view in others:
        other = view.pieces.get(key)
        if other is None or prod(other.shape) != prod(piece.shape):
            continue
        if template is not None or _without_ones(other.shape) == _without_ones(piece.shape):
            return other.shape
    if template is None:
        return piece.shape
    wanted = ", ".join("any" if n is None else str(n) for n in template)
    raise CompatibilityError(
        f'base "{base.name}": the tensor "{key}" lost its axes in the GGUF container',
        expected=f"axes of [{wanted}]",
        received=f"[{', '.join(map(str, piece.shape))}]",
        fix="Choose the safetensors file as the base, or add one of its fine-tunes to the set.",
    )


def _agrees(shape: Sequence[int], template: Template) -> bool:
    return len(shape) == len(template) and all(
        wanted in (None, size) for size, wanted in zip(shape, template, strict=True)
    )


def _restored(shape: Sequence[int], template: Template) -> tuple[int, ...] | None:
    """The lengths above 1 in the open places of the template, if there are as many of both."""
    lengths = _without_ones(shape)
    if len(lengths) != template.count(None):
        return None
    rest = iter(lengths)
    return tuple(next(rest) if size is None else size for size in template)


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]
