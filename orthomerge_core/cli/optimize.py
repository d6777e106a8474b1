"""`orthomerge optimize`: write the recipe that an analysis suggests."""

from __future__ import annotations

from pathlib import Path

import click

from ..recipe.codec import dumps, to_json
from ..recipe.model import DEFAULT_METHOD
from .bar import Bar
from .common import FILE, echo_json, json_flag, quiet_flag, read_json, write_text

__all__ = ["optimize"]


@click.command(short_help="Find the best delta base of every model.")
@click.argument("analysis", type=FILE)
@click.option("-o", "--output", type=FILE, help="File for the recipe.")
@click.option("--method", default=DEFAULT_METHOD, show_default=True, help="Merge method.")
@click.option("--search", default="auto", show_default=True, help="auto, exhaustive or local.")
@click.option("--redundancy", default=0.8, show_default=True, help="Cosine above which one goes.")
@click.option(
    "--repeat-threshold", default=1.0, show_default=True, help="New information for 2×; 1: never."
)
@click.option("--opposition", default=-0.8, show_default=True, help="Cosine below which it warns.")
@json_flag
@quiet_flag
def optimize(
    analysis: Path,
    output: Path | None,
    method: str,
    search: str,
    redundancy: float,
    repeat_threshold: float,
    opposition: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Find the best delta base of every model in ANALYSIS, the JSON that analyze wrote."""
    from ..analysis.codec import from_json
    from ..optimize.delta_base import optimize_parents
    from ..optimize.proposal import proposal_recipe
    from ..optimize.settings import OptimizeSettings
    from ..report.optimizer_text import optimizer_report

    settings = OptimizeSettings.from_json(
        {
            "search": search,
            "redundancy": redundancy,
            "repeat_threshold": repeat_threshold,
            "opposition": opposition,
        }
    )
    found = from_json(read_json(analysis, "the JSON of an analysis"))
    with Bar(quiet=quiet) as bar:
        proposal = optimize_parents(found, settings, bar)
    recipe = proposal_recipe(found, proposal, method)
    if output is not None:
        write_text(output, dumps(recipe))
    if as_json:
        echo_json({"recipe": to_json(recipe), "proposal": proposal.to_json()})
    else:
        click.echo(optimizer_report(proposal))
    return 0
