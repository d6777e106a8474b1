"""The compatibility report: what was found in every file, for people and for machines."""

from __future__ import annotations

from typing import Any

from .aligned import AlignedSet, ModelReport, PartReport
from .markers import marker_words

__all__ = ["compat_json", "compat_text", "reports"]


def reports(aligned: AlignedSet) -> tuple[ModelReport, ...]:
    """The base's report, those of the models, then those of skipped models."""
    return (aligned.base.report, *(m.report for m in aligned.models), *aligned.skipped)


def compat_json(aligned: AlignedSet) -> dict[str, Any]:
    """The report as plain JSON; no paths."""
    return {
        "architecture": aligned.architecture.name,
        "architecture_label": aligned.architecture.label,
        "keys": len(aligned.keys),
        "carried": len(aligned.passthrough),
        "components": list(aligned.components),
        "base": aligned.base.report.to_json(),
        "models": [m.report.to_json() for m in aligned.models],
        "skipped": [r.to_json() for r in aligned.skipped],
    }


def compat_text(aligned: AlignedSet) -> str:
    """The report as plain text: one sentence on top, then a paragraph per file."""
    return "\n\n".join([_summary(aligned), *(_paragraph(r) for r in reports(aligned))])


def _summary(aligned: AlignedSet) -> str:
    fit, total = len(aligned.models), len(aligned.models) + len(aligned.skipped)
    words = (
        f"{fit} of {total} models fit"
        if total != 1
        else f"The model {'fits' if fit else 'does not fit'}"
    )
    left = ", ".join(f'"{r.name}"' for r in aligned.skipped)
    tail = f" Left out: {left}." if left else ""
    twins = [m.report for m in aligned.models if m.report.duplicate_of]
    tail += "".join(f' "{r.name}" has the same weights as {_twin(r)}.' for r in twins)
    label, file = aligned.architecture.label, aligned.base.report.file
    return f"{words} the base {file} ({label}, {len(aligned.keys)} tensors to merge).{tail}"


def _twin(report: ModelReport) -> str:
    return "the base" if report.duplicate_of == "base" else f'"{report.duplicate_of}"'


def _paragraph(report: ModelReport) -> str:
    head = f"{report.name} ({report.file})" if report.name != report.file else report.name
    state = "" if report.ok else " [left out]"
    counts = (
        f"coverage {coverage_words(report.coverage_frac)}: {report.matched} matched, "
        f"{report.missing} missing, {report.mismatched} of another shape or type, "
        f"{report.extra} extra; "
    )
    lines = [
        f"{head}{state}: {report.verdict}.",
        f"  {'' if report.name == 'base' else counts}stored as {report.dtype}; "
        f"quantization: {report.quantisation}",
    ]
    if report.parts:
        lines.append("  parts: " + "; ".join(part_words(part) for part in report.parts))
    if report.markers:
        names = ", ".join(report.markers)
        lines.append(f"  - Markers: {names} ({marker_words(report.markers)}); copied, not merged.")
    return "\n".join([*lines, *(f"  - {line}" for line in report.findings)])


def part_words(part: PartReport) -> str:
    """A component in words: "VAE (248 tensors): as in the base"."""
    held = "1 tensor" if part.tensors == 1 else f"{part.tensors} tensors"
    return f"{part.label} ({held}): {part.words}" if part.tensors else f"{part.label}: {part.words}"


def coverage_words(share: float) -> str:
    """A share as a percentage that never rounds up to 100 % or down to 0 %."""
    percent = share * 100
    if 0 < share < 1:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f} %" if percent not in (0.0, 100.0) else f"{percent:.0f} %"
