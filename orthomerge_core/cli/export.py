"""`orthomerge export`: write a recipe in another format."""

from __future__ import annotations

from pathlib import Path

import click

from ..recipe.codec import dumps
from ..recipe.model import Recipe
from .common import FILE, read_recipe, write_text

__all__ = ["export"]


@click.command(short_help="Write a recipe in another format.")
@click.argument("recipe", type=FILE)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "mecha", "script", "card"]),
    default="json",
    show_default=True,
    help="JSON, an sd-mecha recipe, a Python script that runs it with sd-mecha, or a model card "
    "in Markdown.",
)
@click.option("-o", "--output", type=FILE, help="File to write; stdout by default.")
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
def export(recipe: Path, kind: str, output: Path | None, as_json: bool) -> int:
    """Write RECIPE (JSON, or the recipe in a merged file) in another format."""
    kind = "json" if as_json else kind
    text = _card(recipe) if kind == "card" else _text(read_recipe(recipe), kind)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_text(output, text)
    return 0


def _card(path: Path) -> str:
    """The card of a recipe, with what the header says where it is a merged file."""
    from ..report.card import model_card

    recipe, header = read_recipe(path), None
    if path.suffix.lower() in (".safetensors", ".sft"):
        from ..io.header import read_header

        header = read_header(path).metadata
    return model_card(recipe, header, name=path.stem)


def _text(recipe: Recipe, kind: str) -> str:
    if kind == "json":
        return dumps(recipe)
    from ..mecha import recipe_text, script_text

    return recipe_text(recipe) if kind == "mecha" else script_text(recipe)
