"""Models that are the same weights under two names."""

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
    """The set with `duplicate_of` filled: the first model (or "base") that has equal weights."""
    seen: list[AlignedModel] = [aligned.base]
    models = []
    for model in aligned.models:
        twin = next((s for s in seen if same_weights(s, model, aligned.keys, progress)), None)
        if twin is None:
            seen.append(model)
            models.append(model)
            continue
        words = "the base" if twin.name == "base" else f'"{twin.name}"'
        line = f"Every weight is byte for byte that of {words}: it adds nothing to a merge."
        findings = (*model.report.findings, line)
        report = replace(model.report, duplicate_of=twin.name, findings=findings)
        models.append(replace(model, report=report))
    return replace(aligned, models=tuple(models))


def same_weights(a: AlignedModel, b: AlignedModel, keys: Sequence[str], progress: Progress) -> bool:
    """Whether two models hold the same bytes at every key.

    Free where dtypes, shapes, fingerprints or known hashes decide; a few kilobytes where any
    sampled element differs; one reading of both only where all samples agree.
    """
    if any(_stored(a, key) != _stored(b, key) for key in keys):
        return False
    if a.source is b.source or a.source.fingerprint() == b.source.fingerprint():
        return True
    rest = [k for k in keys if a.has(k) and not _known_equal(a, b, k)]
    if any(_known_different(a, b, k) for k in rest):
        return False
    step = max(1, len(rest) // _SAMPLES)
    if not all(_agree(a, b, k, _SAMPLE_ELEMENTS, progress, once=True) for k in rest[::step]):
        return False
    return all(_agree(a, b, k, _CHUNK_ELEMENTS, progress) for k in rest)


def _stored(model: AlignedModel, key: str) -> object:
    if not model.has(key):
        return None
    segments = model.segments[key]
    entries = [model.source.entries[s.key] for s in segments]
    kinds = {(e.dtype, e.quant) for e in entries}
    return kinds, sum(s.stop - s.start for s in segments)


def _hashes(a: AlignedModel, b: AlignedModel, key: str) -> tuple[str | None, str | None]:
    """Known hashes of a key that is one whole tensor in both files."""
    found = []
    for model in (a, b):
        segments = model.segments[key]
        whole = len(segments) == 1 and (
            segments[0].stop - segments[0].start == model.source.entries[segments[0].key].numel
        )
        plain = model.entry(key).quant is None
        found.append(model.source.tensor_hashes().get(segments[0].key) if whole and plain else None)
    return found[0], found[1]


def _known_equal(a: AlignedModel, b: AlignedModel, key: str) -> bool:
    one, two = _hashes(a, b, key)
    return one is not None and one == two


def _known_different(a: AlignedModel, b: AlignedModel, key: str) -> bool:
    one, two = _hashes(a, b, key)
    return one is not None and two is not None and one != two


def _agree(
    a: AlignedModel, b: AlignedModel, key: str, chunk: int, progress: Progress, once: bool = False
) -> bool:
    """Whether chunks agree bit for bit; `once` compares one chunk from the middle only."""
    total = sum(s.stop - s.start for s in a.segments[key])
    starts = [max(0, total // 2 - chunk // 2)] if once else range(0, total, chunk)
    for start in starts:
        progress.check()
        size = min(chunk, total - start)
        one, two = torch.empty(size), torch.empty(size)
        a.read_into(key, one, start)
        b.read_into(key, two, start)
        if not _same_bits(one, two):
            return False
    return True


def _same_bits(one: Tensor, two: Tensor) -> bool:
    return bool(torch.equal(one.view(torch.int32), two.view(torch.int32)))
