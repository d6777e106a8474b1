"""A source whose quantized layers read as the float32 weights they stand for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..bytesource import ByteSource
from ..hashing import bytes_hash
from ..scratch import BUFFER_BYTES, Scratch
from ..source import Entry, Read, ReadStored, Source
from .contract import QuantLayer, Scales
from .detect import Detected

__all__ = ["QuantizedSource"]

_FLOATS_AT_ONCE = BUFFER_BYTES // 4


class QuantizedSource(Source):
    """Wraps stored bytes; closing it closes them.

    The hash of a quantized tensor is that of its scheme, its options and the hashes of its weight
    and of its scales, so equal hashes mean equal values.
    """

    def __init__(self, source: ByteSource, found: Detected) -> None:
        self._source, self._layers = source, found.layers
        self.name, self.metadata, self.dropped = source.name, source.metadata, found.dropped
        self.entries: dict[str, Entry] = {
            key: self._entry(key) for key in source.entries if key not in found.dropped
        }
        self._local = threading.local()

    def _entry(self, key: str) -> Entry:
        stored, layer = self._source.entries[key], self._layers.get(key)
        if layer is None:
            return stored
        n_bytes = stored.n_bytes + sum(layer.side(suffix).n_bytes for suffix in layer.needs)
        return Entry(layer.shape, stored.dtype, n_bytes, layer.quant, layer.padding)

    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        """See `Source`."""
        layer = self._layers.get(key)
        if layer is None:
            self._source.read_into(key, out, start)
        else:
            self._decode(layer, key, out, start)

    def reader(self, key: str, scratch: Scratch | None = None) -> Read:
        """See `Source`."""
        if key in self._layers:
            return super().reader(key, scratch)
        return self._source.reader(key, scratch)

    def stored_reader(self, key: str) -> ReadStored | None:
        """See `Source`."""
        return None if key in self._layers else self._source.stored_reader(key)

    def read_steps(self, key: str, out: Tensor, start: int = 0) -> bool:
        """See `Source`."""
        layer = self._layers.get(key)
        if layer is None:
            return self._source.read_steps(key, out, start)
        self._decode(layer, key, out, start, layer.steps)
        return not layer.rotated

    def _decode(
        self,
        layer: QuantLayer,
        key: str,
        out: Tensor,
        start: int,
        decode: Callable[[Scales, Tensor, int, Tensor], None] | None = None,
    ) -> None:
        """Whole units go straight into `out`; one that `out` begins or ends in, through a
        scratch."""
        scales = self._scales(layer, key)
        done, unit = 0, layer.unit
        while done < len(out):
            first, skip = divmod(start + done, unit)
            left = len(out) - done
            whole = min(left, max(_FLOATS_AT_ONCE, unit)) // unit if skip == 0 else 0
            if whole and out.is_contiguous() and out.device.type == "cpu":
                part = out[done : done + whole * unit]
                self._decode_units(layer, key, scales, first, part, decode)
            else:
                scratch = torch.empty(unit * max(whole, 1), dtype=torch.float32)
                self._decode_units(layer, key, scales, first, scratch, decode)
                part = out[done : done + min(left, len(scratch) - skip)]
                part.copy_(scratch[skip : skip + len(part)])
            done += len(part)

    def _decode_units(
        self,
        layer: QuantLayer,
        key: str,
        scales: Scales,
        first: int,
        out: Tensor,
        decode: Callable[[Scales, Tensor, int, Tensor], None] | None,
    ) -> None:
        raw = self._source.scratch().bytes(len(out) // layer.unit * layer.unit_bytes)
        self._source.read_bytes(key, raw.data, first * layer.unit_bytes)
        (decode or layer.decode)(scales, torch.from_numpy(raw), first, out)

    def _scales(self, layer: QuantLayer, key: str) -> Scales:
        """The layer's scales. A thread keeps those of its last layer: tensors come in chunks."""
        held: tuple[str, Scales] | None = getattr(self._local, "held", None)
        if held is None or held[0] != key:
            with torch.inference_mode(False):  # they may serve a later call outside inference mode
                scales = layer.load(lambda suffix: self._source.read_raw(self._side(layer, suffix)))
            held = self._local.held = (key, scales)
        return held[1]

    @staticmethod
    def _side(layer: QuantLayer, suffix: str) -> str:
        return f"{layer.spec.layer}.{suffix}"

    def read_raw(self, key: str) -> Tensor:
        """See `Source`."""
        return self.read(key) if key in self._layers else self._source.read_raw(key)

    def fingerprint(self) -> str:
        """See `Source`."""
        return bytes_hash(f"dequantized {self._source.fingerprint()}".encode())

    def tensor_hashes(self) -> Mapping[str, str]:
        """See `Source`, and the class for quantized tensors."""
        stored = self._source.tensor_hashes()
        found = {key: stored[key] for key in self.entries if key in stored}
        for key, layer in self._layers.items():
            parts = [key, *(self._side(layer, suffix) for suffix in layer.needs)]
            if all(part in stored for part in parts):
                what = [layer.quant, dict(layer.spec.options), [stored[part] for part in parts]]
                found[key] = bytes_hash(json.dumps(what, sort_keys=True).encode())
            else:
                found.pop(key, None)
        return found

    def trust(self, hashes: Mapping[str, str]) -> None:
        """See `Source`: tensors that are stored plainly. What is quantized is hashed again, since
        its hash is made of several tensors'."""
        plain = {key: digest for key, digest in hashes.items() if key not in self._layers}
        self._source.trust(plain)

    def check_unchanged(self) -> None:
        """See `Source`."""
        self._source.check_unchanged()

    def close(self) -> None:
        """See `Source`."""
        self._source.close()
