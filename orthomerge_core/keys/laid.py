"""One model aligned with the base, with its report: the base itself, a LoRA, or any other model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..io.source import Entry, Source
from .aligned import AlignedModel, ModelReport, PartReport
from .architecture import Architecture
from .channels import WidenedSource
from .components import DIFFUSION, component_label, component_of
from .lora.source import lora_model
from .markers import disagreement, markers_of
from .match import Match
from .normalize import View
from .parts import match_parts
from .prediction import markers as stored_markers
from .setspec import ModelSpec
from .verdict import dtype_words, findings, quantisation_words, verdict

__all__ = ["laid_base", "laid_lora", "laid_model"]


def laid_base(
    source: Source, view: View, known: Architecture, keys: Sequence[str], passthrough: Sequence[str]
) -> AlignedModel:
    """The base over itself; `keys` are merged, `passthrough` are copied."""
    segments = {k: view.pieces[k].segments for k in (*keys, *passthrough)}
    entries = _entries(source, {k: segments[k] for k in keys})
    found = Match(view, segments, (), {}, {}, (), _repairs(view.repairs, entries))
    words = (
        [f"copied unchanged: {len(passthrough)} keys that are not weights."] if passthrough else []
    )
    if known.name != view.architecture.name:
        words.append(
            f"taken for {known.label} as asked; its keys look like {view.architecture.label}."
        )
    report = ModelReport(
        name="base",
        file=source.name,
        architecture=known.label,
        dtype=dtype_words(entries),
        quantisation=quantisation_words(entries),
        matched=sum(component_of(key) == DIFFUSION for key in keys),
        missing=0,
        extra=0,
        mismatched=0,
        coverage_frac=1.0,
        ok=True,
        verdict=f"{known.label}, {len(keys)} tensors to merge",
        parts=_own_parts(keys),
        findings=(*findings(found, {}, source), *(w[0].upper() + w[1:] for w in words)),
        repairs=found.repairs,
        markers=markers_of(view.pieces),
    )
    return AlignedModel("base", source, segments, report, stored_markers(view))


def _own_parts(keys: Sequence[str]) -> tuple[PartReport, ...]:
    """The base's own components beside the diffusion model."""
    counts = Counter(component_of(key) for key in keys)
    return tuple(
        PartReport(name, component_label(name), n, n, words="part of the base")
        for name, n in counts.items()
        if name != DIFFUSION
    )


def laid_lora(
    spec: ModelSpec | str,
    source: Source,
    base: AlignedModel,
    known: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
) -> AlignedModel:
    """A LoRA file as the model that its patches make of the base."""
    name, file = (spec, source.name) if isinstance(spec, str) else (spec.name, spec.file)
    return lora_model(name, file, source, base, known, shapes)


def laid_model(
    spec: ModelSpec | str,
    source: Source,
    found: Match,
    known: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
    beside: Mapping[str, tuple[int, ...]],
    base: AlignedModel,
) -> AlignedModel:
    """`shapes`: of the base's diffusion model; `beside`: of its other components."""
    name, file = (spec, source.name) if isinstance(spec, str) else (spec.name, spec.file)
    parts = match_parts(beside, found.view.parts, source)
    entries = _entries(source, found.segments) or list(source.entries.values())
    found = replace(found, repairs=_repairs(found.repairs, entries))
    said = disagreement(base.report.markers, found.view.pieces) if found.ok else ""
    report = ModelReport(
        name=name,
        file=file,
        architecture=found.view.architecture.label,
        dtype=dtype_words(entries),
        quantisation=quantisation_words(entries),
        matched=len(found.segments),
        missing=len(found.missing),
        extra=len(found.extra),
        mismatched=len(found.mismatched) + len(found.unreadable),
        coverage_frac=found.coverage_frac,
        ok=found.ok,
        verdict=verdict(known, found, source, shapes) + said,
        findings=findings(found, shapes, source),
        repairs=found.repairs,
        parts=parts.reports,
        markers=markers_of(found.view.pieces),
    )
    segments = {**found.segments, **parts.segments}
    odd = (*found.mismatched, *found.unreadable)
    for key, shape in found.channels.items():
        if shape[1] < shapes[key][1]:
            source = WidenedSource(source, segments[key][0].key, base, key, shapes[key])
    count = next((shape[1] for shape in found.channels.values()), 0)
    return AlignedModel(name, source, segments, report, stored_markers(found.view), odd, count)


def _entries(source: Source, segments: Mapping[str, Sequence[object]]) -> list[Entry]:
    keys = dict.fromkeys(s.key for run in segments.values() for s in run)  # type: ignore[attr-defined]
    return [source.entries[k] for k in keys]


def _repairs(done: tuple[str, ...], entries: Sequence[Entry]) -> tuple[str, ...]:
    return (*done, "dequantise") if any(e.quant for e in entries) else done
