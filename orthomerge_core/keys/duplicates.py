"""Finds models with the same weights under two names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..progress import Progress
from .aligned import AlignedModel, AlignedSet

__all__ = ["mark_duplicates", "same_weights"]

_SAMPLES = 24
_SAMPLE_ELEMENTS = 512
_CHUNK_ELEMENTS = 1 << 20


def mark_duplicates(aligned: AlignedSet, progress: Progress) -> AlignedSet:
    """The set with `duplicate_of` filled: the first model (or "base") that has equal weights.

    Cost: 24 samples of 512 elements per model; models that agree in all of them are read to the
    end, or to the first difference.
    """
    seen = [(aligned.base, _sample(aligned.base, aligned.keys, progress))]
    models = []
    for model in aligned.models:
        sample = _sample(model, aligned.keys, progress)
        alike = (other for other, theirs in seen if _same_sample(sample, theirs))
        twin = next((o for o in alike if same_weights(o, model, aligned.keys, progress)), None)
        if twin is None:
            seen.append((model, sample))
            models.append(model)
        else:
            models.append(_marked(model, twin.name))
    return replace(aligned, models=tuple(models))


def _marked(model: AlignedModel, twin: str) -> AlignedModel:
    words = "the base" if twin == "base" else f'"{twin}"'
    line = f"Every weight is byte for byte that of {words}: it adds nothing to a merge."
    findings = (*model.report.findings, line)
    return replace(model, report=replace(model.report, duplicate_of=twin, findings=findings))


def same_weights(a: AlignedModel, b: AlignedModel, keys: Sequence[str], progress: Progress) -> bool:
    """Whether two models hold the same stored values at every key, in the same dtypes.

    Free where dtypes, shapes or known hashes decide; otherwise reads both up to the first
    difference. File names, times and fingerprints say nothing here.
    """
    if a.source is b.source:
        return True
    if any(_stored(a, key) != _stored(b, key) for key in keys):
        return False
    ours, theirs = _known_hashes(a, keys), _known_hashes(b, keys)
    if any(ours[key] != theirs[key] for key in ours.keys() & theirs.keys()):
        return False
    unknown = [k for k in keys if a.has(k) and not (k in ours and k in theirs)]
    return all(_agree(a, b, key, progress) for key in unknown)


def _stored(model: AlignedModel, key: str) -> object:
    """What must be equal before values are compared: dtype, quantization, number of elements."""
    if not model.has(key):
        return None
    entries = [model.source.entries[s.key] for s in model.segments[key]]
    return {(e.dtype, e.quant) for e in entries}, _numel(model, key)


def _numel(model: AlignedModel, key: str) -> int:
    return sum(s.stop - s.start for s in model.segments[key])


def _known_hashes(model: AlignedModel, keys: Sequence[str]) -> dict[str, str]:
    """Hashes that reading has left, of keys that are one whole plain tensor of their file."""
    known, found = model.source.tensor_hashes(), {}
    for key in keys:
        segments = model.segments.get(key, ())
        if len(segments) != 1 or segments[0].key not in known:
            continue
        entry = model.source.entries[segments[0].key]
        if entry.quant is None and segments[0].stop - segments[0].start == entry.numel:
            found[key] = known[segments[0].key]
    return found


def _sample(model: AlignedModel, keys: Sequence[str], progress: Progress) -> list[Tensor | None]:
    """A few hundred elements from the middle of some keys; None where the model lacks the key."""
    found: list[Tensor | None] = []
    for key in keys[:: max(1, len(keys) // _SAMPLES)]:
        progress.check()
        if not model.has(key):
            found.append(None)
            continue
        total = _numel(model, key)
        part = torch.empty(min(_SAMPLE_ELEMENTS, total))
        model.read_into(key, part, (total - len(part)) // 2)
        found.append(part)
    return found


def _same_sample(a: list[Tensor | None], b: list[Tensor | None]) -> bool:
    return all(
        one is two if one is None or two is None else _same_bits(one, two)
        for one, two in zip(a, b, strict=True)
    )


def _agree(a: AlignedModel, b: AlignedModel, key: str, progress: Progress) -> bool:
    total = _numel(a, key)
    for start in range(0, total, _CHUNK_ELEMENTS):
        progress.check()
        one, two = (torch.empty(min(_CHUNK_ELEMENTS, total - start)) for _ in range(2))
        a.read_into(key, one, start)
        b.read_into(key, two, start)
        if not _same_bits(one, two):
            return False
    return True


def _same_bits(one: Tensor, two: Tensor) -> bool:
    return bool(torch.equal(one.view(torch.int32), two.view(torch.int32)))
