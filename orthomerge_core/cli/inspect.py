"""`orthomerge inspect`: describe files, and say whether they are compatible with a base."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import FileError, HeaderError, OrthoMergeError
from .bar import Bar
from .common import FILE, echo_json, json_flag, quiet_flag, shown

if TYPE_CHECKING:
    from ..keys.normalise import View

__all__ = ["inspect"]


@click.command(short_help="Tell what files are, and how they fit a base.")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--base", type=FILE, help="Report how the files fit this base model.")
@click.option("--arch", default="auto", show_default=True, help="Architecture, if not detected.")
@json_flag
@quiet_flag
def inspect(
    files: tuple[Path, ...], base: Path | None, arch: str, as_json: bool, quiet: bool
) -> int:
    """Tell what FILES are, from their headers; with --base, how they fit it.

    A folder stands for its models.
    """
    from ..keys.opening import open_set, spec_from_paths
    from ..keys.report import compat_json, compat_text

    if base is not None:
        spec = spec_from_paths(base, files, arch)
        with Bar(quiet=quiet) as bar, open_set(spec, allow_empty=True, progress=bar) as aligned:
            found: Any = compat_json(aligned)
            text = compat_text(aligned)
            good = not aligned.skipped
    else:
        found = [_describe(path) for path in _expanded(files)]
        good = all("error" not in item for item in found)
        text = "\n\n".join(_words(item) for item in found)
    if as_json:
        echo_json(found)
    else:
        click.echo(text)
    return 0 if good else 1


def _expanded(files: tuple[Path, ...]) -> list[Path]:
    from ..keys.opening import models_in

    paths: list[Path] = []
    for path in files:
        found = models_in(path) if path.is_dir() else [path]
        if not found:
            what, fix = f'no model in the folder "{shown(path)}"', "Name a model file."
            raise FileError(what, fix=fix)
        paths += found
    return paths


def _describe(path: Path) -> dict[str, Any]:
    from ..execute.output.provenance import RECIPE
    from ..io.opening import open_source
    from ..keys.normalise import normalise_shapes
    from ..report.ancestry_text import ancestry_lines

    try:
        source = open_source(path)
    except OrthoMergeError as error:
        kind = {"kind": error.kind} if isinstance(error, HeaderError) else {}
        return {"file": path.name, "error": str(error), **kind}
    with source:
        view = normalise_shapes({key: entry.shape for key, entry in source.entries.items()})
        entries = list(source.entries.values())
        return {
            "file": source.name,
            "architecture": view.architecture.name,
            "architecture_label": view.architecture.label,
            "tensors": len(entries),
            "parameters": sum(entry.numel for entry in entries),
            "bytes": sum(entry.n_bytes for entry in entries),
            "dtypes": dict(Counter(entry.dtype for entry in entries).most_common()),
            "quantised": dict(Counter(entry.quant for entry in entries if entry.quant)),
            "prefix": view.prefix,
            "left_out": {reason: len(keys) for reason, keys in view.left_out.items()},
            "not_weights": dict(Counter(source.dropped.values())),
            "has_recipe": RECIPE in source.metadata,
            "components": _components(view),
            "ancestry": ancestry_lines(source.metadata),
        }


def _components(view: View) -> list[str]:
    """What a checkpoint holds beside the diffusion model, in words."""
    from ..keys.components import component_label, component_of

    return [component_label(n) for n in dict.fromkeys(component_of(key) for key in view.parts)]


def _words(item: dict[str, Any]) -> str:
    if "error" in item:
        return f"{item['file']}: {item['error']}"
    lines = [
        f"{item['file']}: {item['architecture_label']}",
        f"  {item['tensors']} tensors, {item['parameters'] / 1e6:,.1f} M parameters, "
        f"{item['bytes'] / 2**20:,.0f} MiB",
        "  stored as " + _counts(item["dtypes"]),
    ]
    if item["quantised"]:
        lines.append("  quantized: " + _counts(item["quantised"]))
    if item["prefix"]:
        lines.append(f"  prefix {item['prefix']}")
    for kind in ("left_out", "not_weights"):
        if item[kind]:
            lines.append(f"  {kind.replace('_', ' ')}: {_counts(item[kind])}")
    if item["components"]:
        lines.append("  components: " + ", ".join(item["components"]))
    if item["has_recipe"]:
        lines.append("  holds the recipe it was merged with (see export)")
    lines += [f"  {line}" for line in item["ancestry"]]
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
