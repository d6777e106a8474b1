"""`orthomerge merge`: merge one recipe, or several as a batch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import api
from ..errors import Cancelled, HeaderError, OrthoMergeError
from ..io.rawfile import explain_os_error
from ..recipe.components import changed
from ..recipe.model import OUTPUT_DTYPES, Recipe
from .bar import Bar
from .common import (
    FILE,
    FOLDER,
    cache_folder,
    cache_options,
    echo_json,
    json_flag,
    make_folder,
    quiet_flag,
    read_recipe,
    write_text,
)
from .details import details_options, read_details

if TYPE_CHECKING:
    from ..execute.output.details import FileDetails
    from ..execute.output.report import MergeReport

__all__ = ["merge"]

_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')
"""Characters that some system does not allow in a file's name."""


@dataclass(frozen=True)
class _Job:
    recipe: Path
    variant: Recipe | None
    target: Path
    folders: tuple[Path, ...]
    dtype: str | None
    device: str
    overwrite: bool
    dry_run: bool
    provenance: bool
    report: Path | None
    layout: str
    changes: Mapping[str, str | None]
    details: FileDetails
    split: bool
    sha256: bool


@click.command(short_help="Merge as recipes say.")
@click.argument("recipes", nargs=-1, required=True, type=FILE)
@click.option(
    "-o",
    "--output",
    required=True,
    type=FILE,
    help="The result; with several recipes, a folder for one result each.",
)
@click.option("--dtype", type=click.Choice(OUTPUT_DTYPES), help="Overrides the recipe's.")
@click.option(
    "--layout",
    type=click.Choice(("auto", "checkpoint", "diffusion")),
    default="auto",
    show_default=True,
    help="What is written; auto: a checkpoint where the base is one.",
)
@click.option("--vae", help="Overrides the recipe's: base, merge, a model's name or a file.")
@click.option(
    "--prediction", help="Overrides the recipe's: base, epsilon, v, v+ztsnr or a model's name."
)
@click.option("--split", is_flag=True, help="Also write text encoders and VAE as files.")
@click.option("--sha256", is_flag=True, help="Also hash the files whole, for model sites.")
@details_options
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--models-dir",
    "folders",
    multiple=True,
    type=FOLDER,
    help="Where models lie, beside the recipe's own folder; may be given more than once.",
)
@click.option(
    "--sweep",
    multiple=True,
    metavar="TARGET=VALUES",
    help="Merge once per value, e.g. detail.alpha=0.3,0.5 or method=each; -o names a folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing results.")
@click.option("--dry-run", is_flag=True, help="Check everything and estimate; write nothing.")
@click.option("--no-provenance", is_flag=True, help="Leave the recipe out of the result.")
@click.option("--report", type=FILE, help="Folder for a report and a picture per result.")
@cache_options
@json_flag
@quiet_flag
def merge(
    recipes: tuple[Path, ...],
    output: Path,
    dtype: str | None,
    layout: str,
    vae: str | None,
    prediction: str | None,
    split: bool,
    sha256: bool,
    device: str,
    folders: tuple[Path, ...],
    sweep: tuple[str, ...],
    overwrite: bool,
    dry_run: bool,
    no_provenance: bool,
    report: Path | None,
    cache_dir: Path | None,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
    **told: Any,
) -> int:
    """Merge as RECIPES say (JSON, or a merged file to repeat). One that fails stops no other."""
    details = read_details(**told)
    cache = cache_folder(cache_dir, no_cache)
    variants = list(_variants(recipes, sweep))
    targets = _targets([variant.name for variant in variants], output, folder=bool(sweep))
    if not dry_run:
        for folder in (report, output if targets[0] != output else None):
            if folder is not None:
                make_folder(folder)
    elif targets[0] != output and not output.exists():  # the room is that of the disk it will be on
        targets, overwrite = [output.parent / target.name for target in targets], True
    results = []
    for variant, target in zip(variants, targets, strict=True):
        around = (*folders, variant.file.parent)
        job = _Job(
            variant.file,
            variant.recipe,
            target,
            around,
            dtype,
            device,
            overwrite,
            dry_run,
            not no_provenance,
            report,
            layout,
            {"vae": vae, "prediction": prediction},
            details,
            split,
            sha256,
        )
        with Bar(quiet=quiet) as bar:
            results.append(_attempt(job, cache, bar, alone=len(variants) == 1))
        if not as_json:
            _say(results[-1], many=len(variants) > 1)
    if as_json:
        echo_json(results[0]["report"] if len(results) == 1 else [_plain(r) for r in results])
    return 0 if all(result["ok"] for result in results) else 1


@dataclass(frozen=True)
class _Variant:
    """A merge to be made: its recipe's file, the result's name, and the recipe if already read."""

    file: Path
    name: str
    recipe: Recipe | None = None


def _variants(files: Sequence[Path], sweep: Sequence[str]) -> Iterator[_Variant]:
    """One merge per file, or per combination of the values that `--sweep` names."""
    if not sweep:
        yield from (_Variant(file, file.stem) for file in files)
        return
    if len(files) > 1:
        raise click.UsageError("--sweep takes one recipe.")
    recipe = read_recipe(files[0])
    from ..grid.cells import make_grid

    grid = make_grid(recipe, sweep)
    for cell in grid.cells:
        caption = _UNSAFE.sub("_", cell.caption(grid.axes))
        yield _Variant(files[0], f"{files[0].stem} {caption}", cell.setting.recipe)


def _targets(names: Sequence[str], output: Path, *, folder: bool) -> list[Path]:
    """One result per merge; several, or an existing folder, take the merges' own names."""
    if len(names) == 1 and not folder and not output.is_dir():
        return [output]
    if output.suffix in (".safetensors", ".sft") and not output.is_dir():
        raise click.UsageError("With several results, -o names a folder, not a file.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise click.UsageError(f'Two recipes would both become "{twice[0]}.safetensors".')
    return [output / f"{name}.safetensors" for name in names]


def _attempt(job: _Job, cache: Path | None, bar: Bar, *, alone: bool) -> dict[str, Any]:
    try:
        return {"recipe": _name(job), "ok": True} | _merge(job, cache, bar)
    except Cancelled:
        raise
    except (OrthoMergeError, OSError) as error:
        if alone:
            raise
        words = explain_os_error(error) if isinstance(error, OSError) else str(error)
        kind = {"kind": error.kind} if isinstance(error, HeaderError) else {}
        return {"recipe": _name(job), "ok": False, "error": words, **kind, "said": []}


def _name(job: _Job) -> str:
    """The merge's name in messages."""
    return job.recipe.name if job.variant is None else job.target.stem


def _merge(job: _Job, cache: Path | None, bar: Bar) -> dict[str, Any]:
    recipe = changed(job.variant or read_recipe(job.recipe), job.changes)
    with api.plan(
        recipe,
        job.target,
        folders=job.folders,
        output_dtype=job.dtype,
        layout=job.layout,
        overwrite=job.overwrite,
        cache=cache,
        progress=bar,
    ) as plan:
        from ..execute.output.split import part_files, write_parts
        from ..report.merge_text import merge_summary, plan_summary

        parts = list(part_files(plan).values()) if job.split else []
        if job.dry_run:
            return {"report": plan.to_json(), "said": plan_summary(plan)}
        done = api.run(
            plan,
            device=job.device,
            provenance=job.provenance,
            details=job.details,
            sha256=job.sha256,
            cache=cache,
            progress=bar,
        )
        if job.split:
            write_parts(plan, bar)
    if job.report is not None:
        _write_report(done, job.report, job.target.stem)
    said = [*merge_summary(done), *(f"Wrote {path.name}." for path in parts), *done.notes]
    return {"report": done.to_json(), "said": said}


def _write_report(done: MergeReport, folder: Path, stem: str) -> None:
    """The report as Markdown, and the retention picture where matplotlib is installed."""
    from ..report.merge_text import merge_report

    write_text(folder / f"{stem}.md", merge_report(done))
    try:
        from matplotlib.image import imsave
    except ImportError:
        return
    from ..report.merge_plots import retention_picture

    imsave(folder / f"{stem}.png", retention_picture(done))


def _say(result: dict[str, Any], *, many: bool) -> None:
    if many:
        click.echo(f"{result['recipe']}: {'done' if result['ok'] else 'failed'}")
    if not result["ok"]:
        which = f" in {result['recipe']}" if many else ""
        click.echo(f"Error{which}: {result['error']}", err=True)
    for line in result["said"]:
        click.echo(line)


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "said"}
