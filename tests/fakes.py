"""Stand-ins for files: sources whose tensors lie in memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import xxhash
from torch import Tensor

from orthomerge_core.errors import FileChangedError
from orthomerge_core.io.source import Entry, Source

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
PADDINGS = {"nvfp4": 16, "mxfp8": 32}


def stored_bytes(tensor: Tensor) -> bytes:
    """The bytes a safetensors file would hold for this tensor."""
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


class MemorySource(Source):
    """A source over a dict of tensors; the same contract as a file.

    `quant` marks entries as dequantised by a scheme (key → scheme name): their tensors are given
    already dequantised. `reads` lists every (key, start, stop) in order, for tests that count.
    """

    def __init__(
        self,
        name: str,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, str] | None = None,
        *,
        quant: Mapping[str, str] | None = None,
        dropped: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.tensors = dict(tensors)
        quant = quant or {}
        self.entries = {
            key: Entry(
                tuple(t.shape),
                DTYPE_NAMES[t.dtype],
                t.numel() * t.element_size(),
                quant.get(key),
                PADDINGS.get(quant.get(key, ""), 0),
            )
            for key, t in self.tensors.items()
        }
        self.dropped = dict(dropped or {})
        self.metadata = dict(metadata or {})
        self.reads: list[tuple[str, int, int]] = []
        self.closed = False
        self.changed = False
        self._hashes: dict[str, str] = {}
        self._open: dict[str, tuple[int, xxhash.xxh3_128]] = {}

    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        self._check_open(key)
        stop = start + len(out)
        flat = self.tensors[key].reshape(-1)
        assert out.dtype == torch.float32 and out.dim() == 1
        assert 0 <= start <= stop <= flat.numel(), (key, start, stop, flat.numel())
        self.reads.append((key, start, stop))
        out.copy_(flat[start:stop])
        self._hash(key, flat[start:stop], start)

    def read_raw(self, key: str) -> Tensor:
        self._check_open(key)
        tensor = self.tensors[key]
        self.reads.append((key, 0, tensor.numel()))
        self._hashes[key] = xxhash.xxh3_128_hexdigest(stored_bytes(tensor))
        return tensor.float() if self.entries[key].quant else tensor.clone()

    def fingerprint(self) -> str:
        lines = [f"{k} {e.dtype} {e.shape}" for k, e in self.entries.items()]
        values = b"".join(stored_bytes(t) for t in self.tensors.values())
        return xxhash.xxh3_128_hexdigest("\n".join([self.name, *lines]).encode() + values)

    def tensor_hashes(self) -> Mapping[str, str]:
        return dict(self._hashes)

    def check_unchanged(self) -> None:
        if self.changed:
            raise FileChangedError(
                f'"{self.name}" changed while it was open',
                fix="Run it again once nothing writes it.",
            )

    def close(self) -> None:
        self.closed = True

    def _check_open(self, key: str) -> None:
        assert not self.closed, f"{self.name} is closed, reading {key}"

    def _hash(self, key: str, part: Tensor, start: int) -> None:
        """Hash parts that arrive in order from 0; anything else drops the unfinished hash."""
        done, hasher = self._open.pop(key, (0, xxhash.xxh3_128()))
        if start == 0:
            done, hasher = 0, xxhash.xxh3_128()
        if start != done:
            return
        hasher.update(stored_bytes(part))
        if done + part.numel() == self.tensors[key].numel():
            self._hashes[key] = hasher.hexdigest()
        else:
            self._open[key] = (done + part.numel(), hasher)
