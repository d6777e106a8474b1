"""Sources whose stored bytes can be read as they are, on which quantization schemes build."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import FileError, did_you_mean
from .dtypes import torch_dtype
from .hashing import Hasher
from .header import TensorInfo
from .scratch import BUFFER_BYTES, Scratch
from .source import Entry, Read, ReadStored, Source
from .upcast import upcast

__all__ = ["ByteSource", "PassingHashes"]


_UNHASHED_BYTES = 1 << 22


class PassingHashes:
    """XXH3-128 of tensors whose bytes pass by in order; other reads are not hashed."""

    def __init__(self) -> None:
        self.done: dict[str, str] = {}
        self._running: dict[str, tuple[Hasher, int]] = {}

    def feed(self, key: str, buffer: memoryview, start: int, total: int) -> None:
        """`buffer` holds bytes [start, start + len(buffer)) of the `total` bytes of a tensor."""
        if key in self.done:
            return
        hasher, position = self._running.get(key) or (Hasher(), 0)
        if start > position:
            return
        hasher.update(buffer[position - start :] if start < position else buffer)
        position = max(position, start + len(buffer))
        self._running[key] = (hasher, position)
        if position >= total:
            self.done[key] = hasher.hexdigest()
            del self._running[key]


class ByteSource(Source):
    """A source with stored bytes behind every key.

    `infos` has every stored tensor, `entries` the same as `Entry`. Subclasses give `pread`.
    Threads may read different keys at the same time.
    """

    infos: Mapping[str, TensorInfo]

    def __init__(
        self, name: str, infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]
    ) -> None:
        self.name, self.infos, self.metadata = name, infos, metadata
        self.entries = {key: Entry(i.shape, i.dtype, i.n_bytes) for key, i in infos.items()}
        self.dropped: dict[str, str] = {}
        self._hashes = PassingHashes()
        self._local = threading.local()

    @abstractmethod
    def pread(self, key: str, buffer: memoryview, start: int) -> None:
        """Fill `buffer` with the stored bytes of `key` from byte `start` on."""

    def read_bytes(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill `buffer` with the stored bytes of a tensor from `start` on, hashing them."""
        size, total = len(buffer), self.info(key).n_bytes
        if start < 0 or start + size > total:
            raise IndexError(f"{key}: bytes {start} to {start + size} of {total}")
        # A piece that is hashed must still be in the cache; of others, few are the fastest.
        step = _UNHASHED_BYTES if key in self._hashes.done else BUFFER_BYTES
        for low in range(0, size, step):
            piece = buffer[low : low + step] if size > step else buffer
            self.pread(key, piece, start + low)
            self._hashes.feed(key, piece, start + low, total)
        if total == 0:
            self._hashes.feed(key, buffer, 0, 0)

    def info(self, key: str) -> TensorInfo:
        """Where and what a stored tensor is; `FileError` with a near miss for an unknown key."""
        if key not in self.infos:
            what = f'"{self.name}" has no tensor "{key}"'
            raise FileError(what, fix=did_you_mean(key, tuple(self.infos)))
        return self.infos[key]

    def scratch(self) -> Scratch:
        """This thread's scratch for this source."""
        found: Scratch | None = getattr(self._local, "scratch", None)
        if found is None:
            found = self._local.scratch = Scratch()
        return found

    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        """See `Source`."""
        self.reader(key)(out, start)

    def reader(self, key: str, scratch: Scratch | None = None) -> Read:
        """See `Source`. A float32 tensor lands in `out` without passing through a buffer."""
        dtype, width = torch_dtype(self.info(key).dtype), torch_dtype(self.info(key).dtype).itemsize
        buffer = scratch or self.scratch()
        step = max(BUFFER_BYTES // width, 1)

        def read(out: Tensor, start: int = 0) -> None:
            if dtype is torch.float32 and out.is_contiguous() and out.device.type == "cpu":
                self.read_bytes(key, out.detach().view(torch.uint8).numpy().data, start * 4)
                return
            # Calls of torch cost a microsecond each, as much as a thousand elements: few, then.
            size = out.numel()
            for low in range(0, size, step):
                count = min(step, size - low)
                raw, stored = buffer.view(dtype, count)
                self.read_bytes(key, raw, (start + low) * width)
                upcast(stored, dtype, out if count == size else out[low : low + count])
            if not size:
                self.read_bytes(key, memoryview(b""), start * width)  # it has a hash, too

        return read

    def stored_reader(self, key: str) -> ReadStored:
        """See `Source`."""
        width = torch_dtype(self.info(key).dtype).itemsize
        return lambda buffer, start: self.read_bytes(key, buffer, start * width)

    def read_raw(self, key: str) -> Tensor:
        """See `Source`. `UnsupportedError` for a dtype that torch lacks; F4 keeps two to a byte."""
        info = self.info(key)
        dtype = torch_dtype(info.dtype)
        shape = info.shape
        if info.dtype == "F4":
            shape = (*shape[:-1], shape[-1] // 2)
        data = np.empty(info.n_bytes, np.uint8)
        self.read_bytes(key, data.data)
        if not info.n_bytes:
            return torch.empty(shape, dtype=dtype)
        return torch.from_numpy(data).view(dtype).reshape(shape)

    def tensor_hashes(self) -> Mapping[str, str]:
        """See `Source`."""
        return dict(self._hashes.done)

    def trust(self, hashes: Mapping[str, str]) -> None:
        """See `Source`."""
        self._hashes.done |= {key: hashes[key] for key in self.infos.keys() & hashes.keys()}
