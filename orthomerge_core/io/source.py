"""The interface of all sources of weights: named tensors, read lazily and exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .closing import Closing
from .rounding import float_steps
from .scratch import Scratch

__all__ = ["Entry", "Read", "ReadStored", "Source"]

Read = Callable[[Tensor, int], None]
"""(out, start): fill 1-D float32 `out` with the flattened tensor's elements from `start` on."""

ReadStored = Callable[[memoryview, int], None]
"""(buffer, start): fill `buffer` with the stored bytes of the elements from `start` on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One readable tensor of a source.

    `dtype` is the stored safetensors dtype name ("BF16", "F8_E4M3", "I64", …). `quant` names the
    quantization scheme whose dequantized values `read` returns, or is None for plain tensors.
    `shape` is the logical (dequantized) shape. `n_bytes` is what must be read, scales included.

    Some schemes round rows and columns up to a multiple (`padding`; 0 = never) and do not store the
    original sizes: `shape` is then the rounded one, and whoever knows a reference model reads the
    leading rows and columns only.
    """

    shape: tuple[int, ...]
    dtype: str
    n_bytes: int
    quant: str | None = None
    padding: int = 0

    @property
    def numel(self) -> int:
        """Number of logical elements; 1 for a 0-d tensor."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def is_float(self) -> bool:
        """Whether this is a weight that can be merged (not int/bool/complex bookkeeping)."""
        return self.quant is not None or self.dtype in _FLOATS


_FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


class Source(Closing, ABC):
    """A set of named tensors that are read on demand; a context manager that closes its files.

    `name` is what messages call it (a file name without its directory). `entries` lists weights and
    bookkeeping tensors in the file's order, never scale or marker tensors: those are in `dropped`
    (key → reason). `metadata` is the header's string map.

    All reading is exact: float32 of what is stored (dequantized where `Entry.quant` says so).
    Nothing is kept in memory beyond the tensor being read. Not thread-safe per key.
    """

    name: str
    entries: Mapping[str, Entry]
    dropped: Mapping[str, str]
    metadata: Mapping[str, str]
    is_live: bool = False
    """Whether it is no file but a model in memory, which nothing can read again later."""

    @abstractmethod
    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        """Fill 1-D float32 `out` with the flattened tensor's elements from `start` on."""

    def reader(self, key: str, scratch: Scratch | None = None) -> Read:
        """`read_into` of one tensor, looked up once, for reading it piece by piece on one thread.

        `scratch` is what bytes may pass through, shared by all that a worker reads in turn; the
        thread's own for this source by default.
        """
        return partial(self.read_into, key)

    def read_steps(self, key: str, out: Tensor, start: int = 0) -> bool:
        """As `read_into`, the distance of each value to its neighbor in the stored format.

        Half of it is what rounding to the nearest changes at most. Returns whether this holds for
        each element; else (a rotated format) only for the sum of squares over many.
        """
        entry = self.entries[key]
        self.read_into(key, out, start)
        if entry.dtype in _FLOATS:
            float_steps(entry.dtype, out, out)
        else:
            out.zero_()
        return True

    def stored_reader(self, key: str) -> ReadStored | None:
        """As `reader`, the stored bytes of `entries[key].dtype`; None where no file holds them."""
        return None

    @abstractmethod
    def read_raw(self, key: str) -> Tensor:
        """The tensor as stored (dtype and shape untouched), for byte-identical copies.

        For a quantized entry: the dequantized float32 tensor.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of which file it is, its size, times and header: changes when the file does.

        Two files never share one, whatever their times say. Costs no tensor read.
        """

    @abstractmethod
    def tensor_hashes(self) -> Mapping[str, str]:
        """key → XXH3-128 of the stored bytes of every tensor read from start to end so far.

        Filled while bytes pass by `read_into` (in order, from 0) and `read_raw`, and by `trust`;
        nothing is read for it.
        """

    def trust(self, hashes: Mapping[str, str]) -> None:
        """Take hashes from an earlier read of this fingerprint as known: those bytes are not hashed
        again. A source that cannot use them goes on as before."""

    @abstractmethod
    def check_unchanged(self) -> None:
        """Raise `FileChangedError` if the file is no longer what was opened."""

    def close(self) -> None:
        """Release files; reading afterwards is an error."""

    def read(self, key: str) -> Tensor:
        """The whole tensor as a new float32 tensor of its logical shape."""
        entry = self.entries[key]
        flat = torch.empty(entry.numel, dtype=torch.float32)
        self.read_into(key, flat)
        return flat.view(entry.shape)
