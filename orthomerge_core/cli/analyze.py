"""`orthomerge analyze`: measure models against a base in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import api
from ..recipe.model import COMPONENTS
from .bar import Bar
from .common import (
    FILE,
    STDIN,
    cache_folder,
    cache_options,
    make_folder,
    quiet_flag,
    require_text_target,
    write_text,
)

if TYPE_CHECKING:
    from ..analysis.result import Analysis
    from ..keys.aligned import AlignedSet

__all__ = ["analyze"]
_NO_REPAIRS = dict.fromkeys(
    ("fix_prefixes", "dequantise", "fix_norm_names", "remap_diffusers"), False
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
@click.option(
    "--components",
    default=COMPONENTS[0],
    show_default=True,
    type=click.Choice(COMPONENTS),
    help="base: every component that the base has, separately; diffusion: its diffusion model.",
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
    components: str,
    device: str,
    report: Path | None,
    json_file: Path | None,
    cache_dir: Path | None,
    no_cache: bool,
    quiet: bool,
) -> int:
    """Measure how MODELS differ from BASE and from each other (a folder stands for its models)."""
    from ..keys.setspec import Repairs

    if report is not None:
        make_folder(report)
    if json_file is not None and str(json_file) != STDIN:
        require_text_target(json_file)
    with Bar(quiet=quiet) as bar:
        found = api.analyze(
            base,
            models,
            architecture=arch,
            components=components,
            repairs=Repairs(**_NO_REPAIRS) if fix is False else None,
            rank_samples=rank_samples,
            device=device,
            cache=cache_folder(cache_dir, no_cache),
            on_opened=_tell_left_out,
            progress=bar,
        )
    _write(found, report, json_file)
    return 0


def _tell_left_out(aligned: AlignedSet) -> None:
    """Name the models that do not fit before the pass begins."""
    if aligned.skipped:
        from ..keys.report import compat_text

        click.echo(compat_text(aligned), err=True)


def _write(found: Analysis, report: Path | None, json_file: Path | None) -> None:
    """The analysis as the options ask for it: report files, a JSON file, and stdout."""
    from ..analysis.codec import dumps
    from ..report.analysis_text import analysis_report, write_report

    if report is not None and "heatmaps.png" not in write_report(report, found):
        click.echo("No heatmaps: install matplotlib for them.", err=True)
    if json_file is not None and str(json_file) != STDIN:
        write_text(json_file, dumps(found) + "\n")
    click.echo(dumps(found) if str(json_file) == STDIN else analysis_report(found))
