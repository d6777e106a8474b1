"""Recipes in files, in each of their formats. JSON is read without importing torch."""

from __future__ import annotations

from pathlib import Path

from .errors import RecipeError
from .io.text import read_text, shown
from .recipe.codec import loads
from .recipe.model import Recipe

__all__ = ["parse_recipe", "read_recipe_file"]


def read_recipe_file(path: Path) -> Recipe:
    """A recipe from its JSON, the header of a merged safetensors file, or sd-mecha's `.mecha`.

    Raises:
        FileError: the file cannot be read. RecipeError: it holds no recipe, or a wrong one.
    """
    if path.suffix.lower() in (".safetensors", ".sft"):
        from .execute.output.provenance import recipe_from_metadata
        from .io.header import read_header

        return recipe_from_metadata(read_header(path).metadata, path.name)
    return parse_recipe(read_text(path, "a recipe"), path)


def parse_recipe(text: str, path: Path) -> Recipe:
    """A recipe from the text of `path`, whose suffix decides the format; errors name the file."""
    if path.suffix.lower() == ".mecha":
        from .mecha import recipe_from_text

        return recipe_from_text(text)
    try:
        return loads(text)
    except RecipeError as error:
        what = f'"{shown(path)}": {error.what}'
        raise RecipeError(
            what, expected=error.expected, received=error.received, fix=error.fix
        ) from None
