"""A MODEL and CLIP of the running host as a source of weights, with patches applied."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..orthomerge_core.errors import UnsupportedError
from ..orthomerge_core.io.dtypes import dtype_of, is_storable
from ..orthomerge_core.io.hashing import bytes_hash
from ..orthomerge_core.io.quant.detect import ACTIVATION_SCALES, SIDES
from ..orthomerge_core.io.source import Entry, Source
from ..orthomerge_core.keys.prefixes import CHECKPOINT
from . import host
from .identity import identity

__all__ = ["LiveSource"]

_ENCODERS = "text_encoders."
"""What all-in-one checkpoints put before the names that ComfyUI's own text encoders have."""
_PACKED = (torch.float8_e4m3fn, torch.float8_e5m2)


@dataclass(frozen=True)
class _Part:
    """A patcher's tensors: `inside` precedes their names there, `outside` their keys here."""

    patcher: Any
    inside: str
    outside: str


class LiveSource(Source):
    """Weights of a MODEL, one tensor at a time; the MODEL itself is never changed.

    With a CLIP, its text encoders lie beside the diffusion model under the names of a checkpoint.

    Patches are computed when a key is read, and only the last computed tensor of each reading
    thread is kept. Values are float32 of the patched weight, before the host would round them back
    to the stored dtype.
    """

    is_live = True

    def __init__(self, model: Any, name: str, clip: Any = None) -> None:
        self.name = name
        self._model, self._clip = model.clone(), None if clip is None else clip.clone()
        self._parts = _parts(self._model, self._clip)
        self.entries: dict[str, Entry] = {}
        self.dropped: dict[str, str] = {}
        for part in self._parts:
            entries, dropped = _entries(part, name)
            self.entries |= entries
            self.dropped |= dropped
        self.metadata: Mapping[str, str] = {}
        self._last = threading.local()  # .key and .flat
        self._hashes: dict[str, str] = {}
        self._opened_as = " ".join(identity(part.patcher) for part in self._parts)

    @property
    def model(self) -> Any:
        """The MODEL itself."""
        return self._model

    @property
    def clip(self) -> Any:
        """The CLIP that was connected beside the MODEL, or None."""
        return self._clip

    @torch.no_grad()  # a mode of the thread, and workers read as well
    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        """Fill `out` with elements [start, start + len(out)) of the patched tensor."""
        out.copy_(self._value(key)[start : start + len(out)])

    def read_steps(self, key: str, out: Tensor, start: int = 0) -> bool:
        """See `Source`. A quantized tensor hides its scale: fp8's mean step is taken, |x| / 11."""
        if self.entries[key].quant is None or self.entries[key].dtype.startswith("F8"):
            return super().read_steps(key, out, start)
        self.read_into(key, out, start)
        out.abs_().div_(11.0)
        return True

    @torch.no_grad()
    def read_raw(self, key: str) -> Tensor:
        """The stored tensor where nothing patches it; else the patched float32 values."""
        entry = self.entries[key]
        if entry.is_float:
            return self._value(key).view(entry.shape).clone()
        part, rest = self._place(key)
        stored = host.weight_keys(part.patcher, part.inside)[rest]
        return stored.detach().to("cpu", copy=True).contiguous()

    def fingerprint(self) -> str:
        """Changes with the MODEL, its patches' content and its shapes; see `identity`."""
        lines = [f"{k} {e.dtype} {e.shape}" for k, e in self.entries.items()]
        return hashlib.sha256("\n".join([self._opened_as, *lines]).encode()).hexdigest()

    def tensor_hashes(self) -> Mapping[str, str]:
        """key → hash of the patched values read so far."""
        return dict(self._hashes)

    def check_unchanged(self) -> None:
        """A clone with its own patches cannot change under us."""

    def close(self) -> None:
        """Forget the last tensor. The MODEL belongs to the graph, and later nodes read it again."""
        self._last = threading.local()

    def _value(self, key: str) -> Tensor:
        last = self._last
        if getattr(last, "key", None) != key:
            last.key = last.flat = None  # before the next one is computed, not after
            part, rest = self._place(key)
            flat = host.weight_value(part.patcher, rest, part.inside).reshape(-1).contiguous()
            self._hashes[key] = bytes_hash(flat.view(torch.uint8).numpy())
            last.key, last.flat = key, flat
        found: Tensor = last.flat
        return found

    def _place(self, key: str) -> tuple[_Part, str]:
        """Whose tensor a key is, and its name there."""
        part = next(part for part in self._parts if key.startswith(part.outside))
        return part, key[len(part.outside) :]


def _parts(model: Any, clip: Any) -> tuple[_Part, ...]:
    if clip is None:
        return (_Part(model, host.PREFIX, ""),)
    return (_Part(model, host.PREFIX, CHECKPOINT), _Part(clip.patcher, "", _ENCODERS))


def _entries(part: _Part, name: str) -> tuple[dict[str, Entry], dict[str, str]]:
    entries: dict[str, Entry] = {}
    dropped: dict[str, str] = {}
    keys = host.weight_keys(part.patcher, part.inside)
    for own, stored in keys.items():
        key = part.outside + own
        if _is_side(own, keys):
            dropped[key] = "scale or marker of a quantized layer, folded into its weight"
            continue
        kind = type(stored).__name__
        if kind == "GGMLTensor" or not is_storable(stored.dtype):
            raise UnsupportedError(
                f'MODEL "{name}" holds "{key}" as {kind} {stored.dtype}',
                fix="Name the model's file in the set instead of connecting the MODEL.",
            )
        quant = "comfy" if _is_packed(stored) else None
        dtype = dtype_of(stored.dtype)
        size = stored.numel() * stored.element_size()
        entries[key] = Entry(tuple(stored.shape), dtype, size, quant)
    return entries, dropped


def _is_packed(stored: Tensor) -> bool:
    return type(stored).__name__ == "QuantizedTensor" or stored.dtype in _PACKED


def _is_side(key: str, keys: Mapping[str, Tensor]) -> bool:
    """Whether a tensor only serves the quantized weight beside it."""
    layer, _, suffix = key.rpartition(".")
    if suffix not in ACTIVATION_SCALES:
        return suffix in SIDES
    weight = keys.get(f"{layer}.weight")
    return f"{layer}.scale_weight" in keys or (weight is not None and _is_packed(weight))
