"""`analyze`: one pass over a base and its models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..analysis.cache import analyze_cached
from ..analysis.codec import dumps
from ..concurrency.device import usable_device
from ..keys.opening import open_set, spec_from_paths
from ..keys.report import compat_text
from ..keys.setspec import Repairs
from .bar import Bar
from .common import (
    FILE,
    Caches,
    cache_options,
    make_folder,
    quiet_flag,
    require_text_target,
    write_text,
)

__all__ = ["analyze"]

_UNREPAIRED = Repairs(
    strip_text_encoder=False,
    strip_vae=False,
    fix_prefixes=False,
    dequantise=False,
    fix_norm_names=False,
    remap_diffusers=False,
)


@click.command(short_help="Measure how models differ from their base and each other.")
@click.argument("base", type=FILE)
@click.argument("models", nargs=-1, required=True, type=FILE)
@click.option("--arch", default="auto", show_default=True, help="Architecture, if not detected.")
@click.option(
    "--fix/--no-fix",
    default=None,
    help="Apply all repairs in the reader, which is the default, or none.",
)
@click.option(
    "--rank-samples",
    default=5,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="How many of the largest matrices get a spectrum; 0 skips them.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--report", type=FILE, help="Folder for report.md, report.json and heatmaps.png.")
@click.option("--json", "json_file", type=FILE, help="File for the analysis; - is stdout.")
@cache_options
@quiet_flag
def analyze(
    base: Path,
    models: tuple[Path, ...],
    arch: str,
    fix: bool | None,
    rank_samples: int,
    device: str,
    report: Path | None,
    json_file: Path | None,
    cache_dir: Path | None,
    no_cache: bool,
    quiet: bool,
) -> int:
    """Measure how MODELS differ from BASE and from each other (a folder stands for its models)."""
    usable_device(device)
    spec = spec_from_paths(base, models, arch)
    if fix is False:
        spec = replace(spec, repairs=_UNREPAIRED)
    if report is not None:
        make_folder(report)
    if json_file is not None and str(json_file) != "-":
        require_text_target(json_file)
    caches = Caches(cache_dir, no_cache)
    with Bar(quiet=quiet) as bar, open_set(spec, progress=bar) as aligned:
        if aligned.skipped:
            click.echo(compat_text(aligned), err=True)
        found = analyze_cached(
            aligned,
            caches.analysis,
            rank_samples=rank_samples,
            memo=caches.memo,
            progress=bar,
            device=device,
        )
    if report is not None:
        from ..report.analysis_text import write_report

        if "heatmaps.png" not in write_report(report, found):
            click.echo("No heatmaps: install matplotlib for them.", err=True)
    if json_file is not None and str(json_file) != "-":
        write_text(json_file, dumps(found) + "\n")
    if str(json_file) == "-":
        click.echo(dumps(found))
    else:
        from ..report.analysis_text import analysis_report

        click.echo(analysis_report(found))
    return 0
