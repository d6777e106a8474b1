"""A merge's report in words: sentences first, then the table of what is left of each row."""

from __future__ import annotations

from collections.abc import Mapping

from ..execute.output.report import MergeReport
from ..execute.plan.model import Plan
from ..io.file_hash import AUTO_V2
from ..keys.components import component_label

__all__ = ["merge_report", "merge_summary", "plan_summary"]

_MANY_BLOCKS = 12


def merge_report(report: MergeReport) -> str:
    """Markdown: a summary, retention per row and per block, counts, notes."""
    lines = ["# Merge", "", *merge_summary(report), ""]
    if report.retention:
        lines += ["## What is left of each row", "", *_rows(report), ""]
        lines += _components(report.retention_by_component)
        by_block = report.retention_written_by_block or report.retention_by_block
        lines += ["## By block", "", *_blocks(by_block), ""]
    if report.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in report.notes), ""]
    if report.repaired_keys:
        lines += ["## Replaced by the base", "", *(f"- `{k}`" for k in report.repaired_keys), ""]
    lines += ["## Made of", "", *_sources(report)]
    return "\n".join(lines).rstrip() + "\n"


def merge_summary(report: MergeReport) -> list[str]:
    """Plain sentences: what was done, how much of the rows is left, what it cost."""
    keys = report.keys
    where = f" to {report.file}" if report.file else ""
    said = [
        f"Merged {_count(keys['merged'])} with {report.method}{where} in {report.seconds:.1f} s, "
        f"stored {_stored(report.output_dtype)}."
    ]
    if report.retention:
        said.append(f"Retention{_written(report)}: {_listed(_leading(report))}.")
        if _differ(report):
            said.append(f"Before rounding to the output's dtype: {_listed(report.retention)}.")
    if keys["merged"] and report.rounding_frac:
        said.append(
            f"Rounding to the output's dtype moves the weights by {_percent(report.rounding_frac)} "
            "of the merge's own change."
        )
    counts = [
        f"{_are(keys['from_base'])} the base's own",
        f"{_count(keys['repaired'])} not finite and replaced" if keys["repaired"] else "",
        f"{_count(keys['extra'], 'key')} of the models not in the base" if keys["extra"] else "",
    ]
    said.append("; ".join(c for c in counts if c) + ".")
    said.append(f"Content hash {report.content_hash}.")
    if report.peak_rss_mib:
        said[-1] += f" Peak memory of the process: {report.peak_rss_mib:.0f} MiB."
    return said


def plan_summary(plan: Plan) -> list[str]:
    """Plain sentences of a dry run."""
    costs, recipe = plan.estimate.to_json(), plan.recipe
    rows = ", ".join(row.label for row in plan.rows) or "none"
    return [
        f"{_count(len(plan.tensors))} with {recipe.method}, stored {_stored(recipe.output_dtype)}; "
        f"active rows: {rows}.",
        f"Reads {costs['read_mib']:.0f} MiB, writes {costs['output_mib']:.0f} MiB, needs about "
        f"{costs['ram_mib']:.0f} MiB of memory and {costs['seconds']:.0f} s.",
        *_room(costs["free_disk_mib"]),
        *plan.notes,
    ]


def _room(free_mib: float | None) -> list[str]:
    return [] if free_mib is None else [f"The disk has {free_mib:.0f} MiB free."]


def _stored(output_dtype: str) -> str:
    return "in the base's dtypes" if output_dtype == "base" else f"as {output_dtype}"


def _count(number: int, word: str = "tensor") -> str:
    return f"1 {word}" if number == 1 else f"{number} {word}s"


def _are(number: int) -> str:
    return f"{_count(number)} {'is' if number == 1 else 'are'}"


def _rows(report: MergeReport) -> list[str]:
    lines = ["| row | retention | before rounding | only it brings |", "|---|---:|---:|---:|"]
    for name, value in _leading(report).items():
        before, alone = report.retention.get(name), report.leave_one_out.get(name)
        cells = " | ".join(_percent(share) for share in (value, before, alone))
        lines.append(f"| {_cell(name)} | {cells} |")
    return lines


def _leading(report: MergeReport) -> Mapping[str, float | None]:
    """What is in the stored weights; reports of earlier versions know W only."""
    return report.retention_written or report.retention


def _differ(report: MergeReport) -> bool:
    """Whether rounding changed a share by more than the report's last digit."""
    pairs = ((value, report.retention.get(name)) for name, value in _leading(report).items())
    return any(a is not None and b is not None and abs(a - b) > 5e-4 for a, b in pairs)


def _written(report: MergeReport) -> str:
    return " as written" if _differ(report) else ""


def _listed(shares: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())


def _blocks(by_block: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """One line per block; of many, the ones at the extremes of the first row."""
    names = list(by_block)
    blocks = list(by_block[names[0]]) if names else []
    shown = _extremes(by_block[names[0]], blocks) if len(blocks) > _MANY_BLOCKS else blocks
    lines = ["| block | " + " | ".join(_cell(n) for n in names) + " |"]
    lines += ["|---" + "|---:" * len(names) + "|"]
    for block in shown:
        cells = " | ".join(_percent(by_block[name][block]) for name in names)
        lines.append(f"| {_cell(block)} | {cells} |")
    if len(shown) < len(blocks):
        first = _cell(names[0])
        lines += [
            "",
            f"{len(shown)} of {len(blocks)} blocks: those that keep most and least of {first}.",
        ]
    return lines


def _sources(report: MergeReport) -> list[str]:
    """Content hashes, and where they were asked for the SHA-256 of files with AutoV2 in front."""
    lines = ["| model | content hash |", "|---|---|"]
    lines += [f"| {_cell(name)} | `{digest}` |" for name, digest in report.source_hashes.items()]
    if report.sha256:
        lines += ["", "| file | AutoV2 | SHA-256 |", "|---|---|---|"]
        for name, digest in report.sha256.items():
            lines.append(f"| {_cell(name)} | `{digest[:AUTO_V2]}` | `{digest}` |")
    return lines


def _components(by_component: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """A table of rows against components, where there is more than the diffusion model."""
    if len(by_component) < 2:
        return []
    labels = [component_label(name) for name in by_component]
    lines = ["## By component", "", "| row | " + " | ".join(_cell(n) for n in labels) + " |"]
    lines += ["|---" + "|---:" * len(labels) + "|"]
    for row in next(iter(by_component.values())):
        cells = " | ".join(_percent(shares.get(row)) for shares in by_component.values())
        lines.append(f"| {_cell(row)} | {cells} |")
    return [*lines, ""]


def _extremes(values: Mapping[str, float | None], blocks: list[str]) -> list[str]:
    known = sorted((b for b in blocks if values[b] is not None), key=lambda b: values[b] or 0.0)
    half = _MANY_BLOCKS // 2
    chosen = set(known[:half] + known[-half:])
    return [block for block in blocks if block in chosen]


def _percent(value: float | None) -> str:
    return "no change" if value is None else f"{100 * value:.1f} %"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
