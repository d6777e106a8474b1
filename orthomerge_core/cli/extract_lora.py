"""`orthomerge extract-lora`: save the change from a base to a model as a LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import CompatibilityError
from .bar import Bar
from .common import FILE, echo_json, json_flag, quiet_flag

if TYPE_CHECKING:
    from ..linalg.low_rank import RankRule

__all__ = ["extract_lora"]

_SHARE = click.FloatRange(0.0, 1.0, min_open=True)


@click.command(name="extract-lora", short_help="Save the change of a model as a LoRA.")
@click.argument("base", type=FILE)
@click.argument("model", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="The LoRA to write.")
@click.option(
    "--from",
    "parent",
    type=FILE,
    help="Measure the change from this model instead of from BASE.",
)
@click.option("--rank", type=click.IntRange(1, 4096), help="Rank of every layer; 32 by default.")
@click.option("--energy", type=_SHARE, help="Keep this fraction of every layer's energy.")
@click.option("--ratio", type=_SHARE, help="Keep singular values from this fraction of the first.")
@click.option("--knee", is_flag=True, help="Keep singular values up to the knee of their curve.")
@click.option("--max-rank", default=256, show_default=True, type=click.IntRange(1, 4096))
@click.option("--dtype", type=click.Choice(["fp16", "bf16", "fp32"]), default="fp16")
@click.option(
    "--names",
    type=click.Choice(["kohya", "comfyui"]),
    default="kohya",
    show_default=True,
    help="Names of layers: lora_unet_… or diffusion_model.…; ComfyUI reads both.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@json_flag
@quiet_flag
def extract_lora(
    base: Path,
    model: Path,
    output: Path,
    parent: Path | None,
    rank: int | None,
    energy: float | None,
    ratio: float | None,
    knee: bool,
    max_rank: int,
    dtype: str,
    names: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Save the change from BASE to MODEL as a LoRA.

    Vectors are stored whole. The VAE is left out.
    """
    chosen = [x is not None for x in (rank, energy, ratio)] + [knee]
    if sum(chosen) > 1:
        raise click.UsageError("Choose one of --rank, --energy, --ratio and --knee.")
    from ..keys.opening import open_set, spec_from_paths
    from ..lora import extract
    from ..report.lora_text import lora_report

    rule = _rule(rank, energy, ratio, knee, max_rank)
    spec = spec_from_paths(base, [model] if parent is None else [model, parent])
    wanted = [entry.name for entry in spec.models]
    with Bar(quiet=quiet) as bar, open_set(spec, progress=bar) as aligned:
        for report in aligned.skipped:
            what = f'"{report.file}" does not fit "{base.name}"'
            raise CompatibilityError(what, received=report.verdict, fix="Choose another file.")
        found = extract.extract_lora(
            aligned,
            wanted[0],
            output,
            rule,
            parent="base" if parent is None else wanted[1],
            dtype=dtype,
            naming=names,
            overwrite=overwrite,
            progress=bar,
        )
    if as_json:
        echo_json(found.to_json())
    else:
        click.echo(lora_report(found, output.name))
    return 0


def _rule(
    rank: int | None, energy: float | None, ratio: float | None, knee: bool, limit: int
) -> RankRule:
    from ..linalg.low_rank import RankRule

    if energy is not None:
        return RankRule("energy", energy, limit)
    if ratio is not None:
        return RankRule("ratio", ratio, limit)
    if knee:
        return RankRule("knee", limit=limit)
    return RankRule("fixed", rank or 32, max(rank or 32, limit))
