"""Writes one tensor: cast once or quantized, then hashed and stored piece by piece."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...io.dtypes import dtype_of
from ...io.hashing import Hasher, tensor_bytes, tensor_hash
from ...keys.aligned import AlignedModel
from ...linalg.gram import CHUNK
from ..plan.model import TensorPlan
from .cast import cast, count_clipped
from .sinks import Sink

__all__ = ["Emitter", "Listen", "TensorOut", "read_stored"]

Listen = Callable[[], None]


class Emitter:
    """Everything that reaches the sink, and the hashes of it.

    Threads may send different tensors at the same time. `listen` is called at least every 0.1 s
    of work and may raise to stop. `hashes`: name → (dtype, shape, XXH3-128 of the stored bytes).
    `vae` gives the tensors that are copied and that it holds, in place of `base`.
    """

    def __init__(self, sink: Sink, base: AlignedModel, vae: AlignedModel | None = None) -> None:
        self.sink, self.base, self.vae = sink, base, vae
        self.hashes: dict[str, tuple[str, tuple[int, ...], str]] = {}

    def raw(self, key: str, tensor: Tensor, dtype: str, shape: tuple[int, ...]) -> None:
        """Store a tensor as it is."""
        self.sink.write_flat(key, tensor.reshape(-1), 0)
        self.hashes[key] = (dtype, shape, tensor_hash(tensor))

    def copy_base(self, plan: TensorPlan, listen: Listen) -> None:
        """The base's tensor: its very bytes where the dtype stays, else its values cast once."""
        vae = self.vae
        giver = vae if vae is not None and plan.copied and vae.has(plan.key) else self.base
        if not plan.stored.scheme and _is_stored_as(giver, plan.key, plan.stored.dtype):
            stored = read_stored(giver, plan.key)
            self.raw(plan.name, stored, plan.stored.dtype, plan.shape)
            return
        out = TensorOut(self, plan, listen)
        buffer = torch.empty(min(CHUNK, plan.numel), dtype=torch.float32)
        for start in range(0, plan.numel, CHUNK):
            part = buffer[: min(CHUNK, plan.numel - start)]
            giver.read_into(plan.key, part, start)
            out.put(part)
            listen()
        out.finish()


class TensorOut:
    """Takes a tensor's float32 values in order; call `finish` after the last.

    A second `TensorOut` for the same tensor replaces the first. What is quantized is held whole
    until its largest value is known. `clipped` counts values beyond the range of the stored form.
    """

    def __init__(self, emitter: Emitter, plan: TensorPlan, listen: Listen) -> None:
        self._emitter, self._plan, self._listen = emitter, plan, listen
        self._hasher = Hasher()
        self._done = 0
        self.clipped = 0
        self._whole = torch.empty(plan.numel) if plan.stored.scheme else None

    def put(self, values: Tensor) -> Tensor | None:
        """Store the next values (1-D float32); returns stored − values, None where nothing is
        rounded.

        Of what is quantized the error is known, and returned, only by `finish`.
        """
        if self._whole is not None:
            self._whole[self._done : self._done + len(values)].copy_(values)
            self._done += len(values)
            return None
        stored = cast(values, self._plan.stored.dtype)
        self._store(stored)
        if stored.dtype is torch.float32:
            return None
        self.clipped += count_clipped(values, self._plan.stored.dtype)
        return stored.float().sub_(values)

    def put_stored(self, stored: Tensor) -> None:
        """Store the next values, rounded already to its dtype; not of what is quantized."""
        self._store(stored)

    def finish(self) -> Tensor | None:
        """Settle the hash; returns stored − values of the whole tensor where `put` could not."""
        error = self._quantize() if self._whole is not None else None
        plan = self._plan
        form = plan.stored.dtype, plan.stored_shape
        self._emitter.hashes[plan.name] = (*form, self._hasher.hexdigest())
        return error

    def _store(self, stored: Tensor) -> None:
        self._hasher.update(tensor_bytes(stored))
        self._emitter.sink.write_flat(self._plan.name, stored, self._done)
        self._done += len(stored)

    def _quantize(self) -> Tensor:
        whole, self._done = self._whole, 0
        plan, encoder = self._plan, self._plan.stored.encoder
        assert whole is not None and encoder is not None  # of quantized tensors  # noqa: S101
        encoded = encoder.encode(whole.view(plan.shape), self._listen)
        for stored in encoded.weight.reshape(-1).split(CHUNK):
            self._store(stored)
            self._listen()
        self.clipped += encoded.clipped
        layer = plan.name.removesuffix(".weight")
        sides = dict(encoded.sides)
        if encoder.marks_layers:
            sides["comfy_quant"] = encoder.marker(plan.shape)
        for suffix, side in sides.items():
            self._emitter.raw(f"{layer}.{suffix}", side, dtype_of(side), tuple(side.shape))
        for start, values in encoder.decoded(encoded, plan.shape):
            part = whole[start : start + len(values)]
            torch.sub(values, part, out=part)  # the error takes the place of the values
            self._listen()
        return whole


def _is_stored_as(model: AlignedModel, key: str, dtype: str) -> bool:
    """Whether all parts of a canonical tensor lie in the file as plain values of that dtype."""
    entries = (model.source.entries[segment.key] for segment in model.segments[key])
    return all(entry.dtype == dtype and not entry.quant for entry in entries)


def read_stored(model: AlignedModel, key: str) -> Tensor:
    """A canonical tensor as stored, flat: the bytes behind its segments one after the other."""
    parts = []
    for segment in model.segments[key]:
        flat = model.source.read_raw(segment.key).reshape(-1)
        parts.append(flat[segment.start : segment.stop])
    return parts[0] if len(parts) == 1 else torch.cat(parts)
