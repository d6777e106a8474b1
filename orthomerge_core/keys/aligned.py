"""Aligned models: canonical keys, and where each key's elements are stored in each file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..io.closing import Closing
from ..io.scratch import Scratch
from ..io.source import Entry, Read, ReadStored, Source
from .architecture import Architecture
from .components import DIFFUSION, component_of

__all__ = ["AlignedModel", "AlignedSet", "ModelReport", "PartReport", "Segment", "common_dtype"]


@dataclass(frozen=True)
class Segment:
    """Elements [start, stop) of a source tensor, flattened.

    A canonical tensor is a run of segments, so renames, qkv joins and row splits stay streamable.
    """

    key: str
    start: int
    stop: int


@dataclass(frozen=True)
class PartReport:
    """One component of one model, as plain values.

    `tensors`: what the file holds of it. `matched`, `missing`, `mismatched` count the base's
    tensors that are usable here, absent, and of another shape or type. `words`: what that means.
    """

    name: str
    label: str
    tensors: int
    matched: int
    missing: int = 0
    mismatched: int = 0
    words: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class ModelReport:
    """What alignment found in one model; plain values only, so that it becomes JSON as it is.

    `coverage_frac` is matched / base keys. `findings` are full sentences; `repairs` names what was
    repaired in the reader; `verdict` is one sentence ("same architecture as the base", "inpaint
    variant: 9 input channels, base has 4", …). `ok` is False when the model was left out of the
    set. `duplicate_of` names a model, or "base", with the same weights byte for byte. The counts
    are those of the diffusion model; `parts` has one entry for each other component. `markers`:
    the canonical keys by which ComfyUI chooses the prediction.
    """

    name: str
    file: str
    architecture: str
    dtype: str
    quantisation: str
    matched: int
    missing: int
    extra: int
    mismatched: int
    coverage_frac: float
    ok: bool
    verdict: str
    findings: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    duplicate_of: str | None = None
    parts: tuple[PartReport, ...] = ()
    markers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        found = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        return found | {"parts": [part.to_json() for part in self.parts]}


@dataclass(frozen=True)
class AlignedModel:
    """One model of the set by canonical keys. A key absent from `segments` is missing in it.

    `markers`: marker of the prediction → its key in the file; see `keys.prediction`.
    `mismatched`: keys that it holds in another shape, or as numbers that are not weights.
    `channels`: its input channels, where they are not as many as the base's; else 0.
    """

    name: str
    source: Source
    segments: Mapping[str, tuple[Segment, ...]]
    report: ModelReport
    markers: Mapping[str, str] = field(default_factory=dict)
    mismatched: tuple[str, ...] = ()
    channels: int = 0

    def has(self, key: str) -> bool:
        """Whether the model holds this canonical key with the base's shape."""
        return key in self.segments

    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        """Fill 1-D float32 `out` with elements [start, start + len(out)) of a canonical tensor."""
        self.reader(key)(out, start)

    def reader(self, key: str, scratch: Scratch | None = None) -> Read:
        """`read_into` of one canonical tensor, looked up once; see `Source.reader`."""
        run = self.segments[key]
        parts = [self.source.reader(seg.key, scratch) for seg in run]
        if len(run) == 1 and run[0].start == 0:
            return parts[0]

        def read(out: Tensor, start: int = 0) -> None:
            total = out.numel()
            done, offset = 0, 0  # written into out; canonical offset of the segment
            for seg, part in zip(run, parts, strict=True):
                size = seg.stop - seg.start
                low, high = max(start + done - offset, 0), min(start + total - offset, size)
                if low < high:
                    part(out[done : done + high - low], seg.start + low)
                    done += high - low
                offset += size

        return read

    def read_steps(self, key: str, out: Tensor, start: int = 0) -> bool:
        """`Source.read_steps` of a canonical tensor; False where any of its parts says so."""
        done, offset, each = 0, 0, True
        for seg in self.segments[key]:
            size = seg.stop - seg.start
            low, high = max(start + done - offset, 0), min(start + out.numel() - offset, size)
            if low < high:
                part = out[done : done + high - low]
                each &= self.source.read_steps(seg.key, part, seg.start + low)
                done += high - low
            offset += size
        return each

    def stored_reader(self, key: str) -> ReadStored | None:
        """See `Source.stored_reader`; None too where the tensor is not one whole source tensor."""
        run = self.segments[key]
        whole = len(run) == 1 and run[0].start == 0
        return self.source.stored_reader(run[0].key) if whole else None

    def read_raw(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """The canonical tensor as stored (its dtype untouched) in the given shape.

        Dequantized float32 for quantized entries; the wider dtype where joined parts differ.
        """
        parts = []
        for seg in self.segments[key]:
            stored = self.source.read_raw(seg.key)
            parts.append(stored.reshape(-1)[seg.start : seg.stop])
        flat = parts[0] if len(parts) == 1 else torch.cat(parts)
        return flat.reshape(shape)

    def entry(self, key: str) -> Entry:
        """The stored entry behind a canonical key (the first, where several are joined)."""
        return self.source.entries[self.segments[key][0].key]


def common_dtype(models: Sequence[AlignedModel], key: str) -> str | None:
    """The dtype in which all these models' files hold a tensor as it is, if there is one."""
    if any(model.stored_reader(key) is None for model in models):
        return None
    found = {model.entry(key).dtype for model in models}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class AlignedSet(Closing):
    """A base and its models, opened. Closing it closes every source.

    `keys`: canonical float keys: what is analyzed and merged. The diffusion model's come first,
    then those of the other components, both in the base's order.
    `passthrough`: the base's other keys (int, bool, schedules, markers), copied byte for byte.
    `shapes`: canonical key → shape in the base.
    `stored_names`: canonical key → the base's own name for it, in the order of the base's file.
    `outside`: passthrough keys of a checkpoint that belong to no component, such as schedules.
    `skipped`: reports of models that were left out, with the reason.
    """

    architecture: Architecture
    base: AlignedModel
    models: tuple[AlignedModel, ...]
    keys: tuple[str, ...]
    passthrough: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    skipped: tuple[ModelReport, ...] = field(default=())
    stored_names: Mapping[str, str] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components that are merged, the diffusion model first."""
        return tuple(dict.fromkeys(component_of(key) for key in self.keys))

    def keys_of(self, component: str) -> tuple[str, ...]:
        """The merged keys of one component, in order."""
        return tuple(key for key in self.keys if component_of(key) == component)

    def marker_name(self, marker: str) -> str:
        """What a file like the base calls a marker.

        Only markers named like `__x0__` stand below the prefix of a checkpoint's diffusion model.
        """
        if len(self.components) < 2 or not marker.startswith("__"):
            return marker
        key = next(k for k in self.keys if component_of(k) == DIFFUSION)
        return self.stored_names[key].removesuffix(key) + marker

    def model(self, name: str) -> AlignedModel:
        """The model of that name, or the base for "base"; KeyError otherwise."""
        if name == "base":
            return self.base
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(name)

    def read_base_raw(self, key: str) -> Tensor:
        """The base's tensor as stored: for `passthrough` keys and byte-identical copies."""
        return self.base.read_raw(key, self.shapes[key])

    def numel(self, key: str) -> int:
        """Number of elements of a canonical tensor."""
        return int(torch.Size(self.shapes[key]).numel())

    def close(self) -> None:
        """Close every source."""
        for model in (self.base, *self.models):
            model.source.close()
