"""Models that differ from the base in their input channels only: the shared channels are merged.

Inpainting, editing and control variants take more channels than the standard model, behind those of
the picture itself. With C and D channels, the first min(C, D) mean the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from ..io.hashing import bytes_hash
from ..io.scratch import Scratch
from ..io.source import Entry, Read, Source
from .aligned import AlignedModel, Segment
from .architecture import Architecture
from .remap import Piece

__all__ = ["WidenedSource", "channel_words", "shared_channels"]


def shared_channels(
    architecture: Architecture, key: str, shape: tuple[int, ...], piece: Piece
) -> tuple[Segment, ...] | None:
    """Segments that lay a model's first layer over the base's `shape`; None where it does not fit.

    Of a wider model they are the base's channels of it. Of a narrower one they are one segment of
    the base's size, which a `WidenedSource` completes from the base.
    """
    there = piece.shape
    if key != architecture.input_key or not architecture.extra_channels_last:
        return None
    if len(shape) != len(there) or len(shape) < 2 or shape[1] == there[1]:
        return None
    if shape[0] != there[0] or shape[2:] != there[2:] or len(piece.segments) != 1:
        return None
    (segment,) = piece.segments
    if there[1] < shape[1]:
        return (Segment(segment.key, 0, prod(shape)),) if segment.start == 0 else None
    row, kept = prod(there[1:]), shape[1] * prod(shape[2:])
    starts = range(segment.start, segment.start + there[0] * row, row)
    return tuple(Segment(segment.key, start, start + kept) for start in starts)


def channel_words(own: int, other: int) -> str:
    """What is done with a model of `other` input channels over a base of `own`."""
    if other < own:
        return f"they are merged into the first {other} of its {own}, the others stay the base's"
    return f"the first {own} of {other} are merged"


class WidenedSource(Source):
    """A model whose first layer has fewer input channels than the base's, as if it had as many.

    The further channels are the base's own, so that the model changes nothing there. Everything
    else is the model's file as it is.
    """

    def __init__(
        self, inner: Source, key: str, base: AlignedModel, name: str, shape: tuple[int, ...]
    ) -> None:
        """`key`: in the file; `name`: canonical; `shape`: the base's."""
        self.inner, self._base, self._key, self._name = inner, base, key, name
        self.name, self.metadata, self.dropped = inner.name, inner.metadata, inner.dropped
        self.is_live = inner.is_live
        own = inner.entries[key]
        self._row, self._kept = prod(shape[1:]), prod(own.shape[1:])
        dtype = "F32" if own.quant else own.dtype
        wide = Entry(shape, dtype, own.n_bytes + base.entry(name).n_bytes)
        self.entries: Mapping[str, Entry] = {**inner.entries, key: wide}

    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        """See `Source`."""
        self.reader(key)(out, start)

    def reader(self, key: str, scratch: Scratch | None = None) -> Read:
        """See `Source`."""
        if key != self._key:
            return self.inner.reader(key, scratch)
        read_base, read_own = self._base.reader(self._name), self.inner.reader(key)
        wide, kept = self._row, self._kept

        def read(out: Tensor, start: int = 0) -> None:
            read_base(out, start)
            stop = start + out.numel()
            for row in range(start // wide, -(-stop // wide)):
                low, high = max(start, row * wide), min(stop, row * wide + kept)
                if low < high:
                    read_own(out[low - start : high - start], row * kept + low - row * wide)

        return read

    def read_raw(self, key: str) -> Tensor:
        """See `Source`; the widened tensor in the dtype of the model's file."""
        own = self.inner.read_raw(key)
        if key != self._key:
            return own
        shape = self.entries[key].shape
        found = torch.empty(prod(shape))
        self._base.read_into(self._name, found)
        found = found.to(own.dtype).reshape(shape)
        found[:, : own.shape[1]] = own
        return found

    def fingerprint(self) -> str:
        """See `Source`; that of both files."""
        lines = ["widened", self._key, self.inner.fingerprint(), self._base.source.fingerprint()]
        return bytes_hash("\n".join(lines).encode())

    def tensor_hashes(self) -> Mapping[str, str]:
        """See `Source`; of the first layer, the hash of what the model's file holds."""
        return self.inner.tensor_hashes()

    def check_unchanged(self) -> None:
        """See `Source`."""
        self.inner.check_unchanged()

    def close(self) -> None:
        """See `Source`."""
        self.inner.close()
