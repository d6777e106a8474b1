"""A LoRA on its base as one more model, with its report."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from ...io.hashing import bytes_hash
from ...io.scratch import Scratch
from ...io.source import Entry, Read, Source
from ..aligned import AlignedModel, ModelReport, PartReport, Segment
from ..architecture import Architecture
from ..components import DIFFUSION, component_label, component_of
from ..other_files import what_else
from .decomposed import Lengths, is_decomposed, lengths_of
from .factors import Delta, Module, bias_delta, delta_of, modules, refusal
from .placing import Placed, place

__all__ = ["LoraSource", "is_lora", "lora_model"]


class LoraSource(Source):
    """The base's weights plus a LoRA's changes, by the base's canonical keys.

    Only the rows asked for are computed. `inner` is the LoRA's own file. Hashes are of the factors
    and of where they go, so a LoRA has one content hash whatever base it is laid over.
    """

    def __init__(
        self,
        inner: Source,
        base: AlignedModel,
        found: Mapping[str, Module],
        placed: Placed,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.inner, self._base = inner, base
        self.name, self.metadata, self.dropped = inner.name, inner.metadata, {}
        self._modules, self._places = found, placed.places
        self.entries = {
            key: Entry(shapes[key], "F32", self._factor_bytes(key)) for key in placed.places
        }
        self._decomposed = {name for name, module in found.items() if is_decomposed(module)}
        self._known: dict[tuple[str, int], Lengths] = {}
        self._last = threading.local()
        self._hashes: dict[str, str] | None = None

    def read_into(self, key: str, out: Tensor, start: int = 0) -> None:
        """See `Source`."""
        self.reader(key)(out, start)

    def reader(self, key: str, scratch: Scratch | None = None) -> Read:
        """See `Source`."""
        read_base = self._base.reader(key, scratch)
        places = self._places[key]

        def read(out: Tensor, start: int = 0) -> None:
            read_base(out, start)
            stop = start + out.numel()
            for run in places:
                low, high = max(start, run.start), min(stop, run.start + run.count)
                if low < high:
                    shift = run.source - run.start
                    change = self._delta(run.module, run.bias).read(low + shift, high + shift)
                    piece = out[low - start : high - start].add_(change)
                    if run.module in self._decomposed and not run.bias:
                        lengths = self._lengths(run.module, read_base, run.start)
                        piece.mul_(lengths.at(low + shift, high + shift))

        return read

    def read_raw(self, key: str) -> Tensor:
        """The changed weight as float32."""
        return self.read(key)

    def fingerprint(self) -> str:
        """See `Source`; the LoRA's file, and where its changes go."""
        lines = [
            f"{k} {[(p.module, p.start, p.source) for p in v]}" for k, v in self._places.items()
        ]
        return bytes_hash("\n".join(["lora", self.inner.fingerprint(), *lines]).encode())

    def tensor_hashes(self) -> Mapping[str, str]:
        """Key → hash of the factors that change it; reads the file once."""
        if self._hashes is None:
            known = dict(self.inner.tensor_hashes())
            keys = [key for module in self._modules.values() for key in module.parts.values()]
            for key in keys:
                if key not in known:
                    self.inner.read_raw(key)
            known = dict(self.inner.tensor_hashes())
            self._hashes = {key: self._hash(key, known) for key in self._places}
        return dict(self._hashes)

    def check_unchanged(self) -> None:
        """See `Source`."""
        self.inner.check_unchanged()

    def close(self) -> None:
        """See `Source`."""
        self.inner.close()

    def _factor_bytes(self, key: str) -> int:
        names = dict.fromkeys(run.module for run in self._places[key])
        parts = [k for name in names for k in self._modules[name].parts.values()]
        return sum(self.inner.entries[part].n_bytes for part in parts)

    def _hash(self, key: str, known: Mapping[str, str]) -> str:
        lines = [
            [
                run.start,
                run.source,
                run.count,
                run.bias,
                sorted([part, known[k]] for part, k in self._modules[run.module].parts.items()),
            ]
            for run in self._places[key]
        ]
        return bytes_hash(json.dumps(lines).encode())

    def _lengths(self, name: str, read_base: Read, start: int) -> Lengths:
        """The lengths that a DoRA's module sets; a vector, kept for the next piece."""
        known = self._known.get((name, start))
        if known is None:
            delta = self._delta(name, False)
            known = lengths_of(self._modules[name], self.inner, delta, read_base, start)
            self._known[name, start] = known
        return known

    def _delta(self, name: str, bias: bool) -> Delta:
        """A module's change; the factors of the last one stay with each reading thread."""
        last = self._last
        if getattr(last, "name", None) != (name, bias):
            last.name = last.delta = None
            with torch.no_grad():
                read = bias_delta if bias else delta_of
                last.delta = read(self._modules[name], self.inner)
            last.name = (name, bias)
        found: Delta = last.delta
        return found


def is_lora(source: Source) -> bool:
    """Whether a file is a LoRA, by its keys."""
    return what_else(source.entries).startswith("a LoRA")


def lora_model(
    name: str,
    file: str,
    inner: Source,
    base: AlignedModel,
    architecture: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
) -> AlignedModel:
    """A LoRA file laid over the base; `shapes`: the base's merged keys.

    One that changes nothing of the base, or is of a kind that is not read here, is a misfit.
    """
    kind = refusal(inner.entries)
    found = {} if kind else modules(inner.entries)
    placed = place(found, inner, architecture, shapes)
    source = LoraSource(inner, base, found, placed, shapes)
    segments = {key: (Segment(key, 0, prod(shapes[key])),) for key in placed.places}
    wanted = [key for key in shapes if component_of(key) == DIFFUSION]
    matched = sum(key in segments for key in wanted)
    report = ModelReport(
        name=name,
        file=file,
        architecture=architecture.label if segments else "unknown architecture",
        dtype=_dtypes(inner),
        quantisation="none",
        matched=matched,
        missing=0,
        extra=len(placed.unknown),
        mismatched=len(placed.misfits),
        coverage_frac=matched / len(wanted) if wanted else 0.0,
        ok=bool(segments),
        verdict=_verdict(kind, placed, segments, matched, len(wanted)),
        findings=_findings(placed) if segments else (),
        parts=_parts(segments, shapes),
    )
    return AlignedModel(name, source, segments, report)


def _verdict(
    kind: str, placed: Placed, segments: Mapping[str, object], matched: int, total: int
) -> str:
    if kind:
        return (
            f"an adapter of the kind {kind}, which is not read here: load it onto a MODEL and add "
            "that to the set"
        )
    if not segments:
        count = len(placed.unknown) + len(placed.misfits)
        return f"a LoRA for another architecture: none of its {count} layers is one of the base's"
    return f"a LoRA that changes {matched} of the {total} tensors of the diffusion model"


def _findings(placed: Placed) -> tuple[str, ...]:
    lines = []
    for names, words in (
        (placed.unknown, "not known in the base"),
        (placed.misfits, "of another size than the base's"),
    ):
        if names:
            shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            be = "layer of the LoRA is" if len(names) == 1 else "layers of the LoRA are"
            lines.append(f"{len(names)} {be} {words} ({shown}): not merged.")
    return tuple(lines)


def _parts(
    segments: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[PartReport, ...]:
    reports = []
    for name in dict.fromkeys(component_of(key) for key in shapes):
        if name == DIFFUSION:
            continue
        count = sum(component_of(key) == name for key in segments)
        words = "changed by the LoRA" if count else "not in this file: no change there"
        reports.append(PartReport(name, component_label(name), count, count, words=words))
    return tuple(reports)


def _dtypes(inner: Source) -> str:
    return ", ".join(dict.fromkeys(entry.dtype for entry in inner.entries.values()))
