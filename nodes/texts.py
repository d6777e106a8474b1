"""Recipes as text: JSON, and sd-mecha's formats."""

from __future__ import annotations

from ..orthomerge_core.errors import RecipeError, did_you_mean, shown_value
from ..orthomerge_core.mecha import recipe_from_text, recipe_text, script_text
from ..orthomerge_core.recipe.codec import dumps, loads
from ..orthomerge_core.recipe.model import Recipe
from ..orthomerge_core.report.card import model_card

__all__ = ["FORMATS", "read_text", "write_text"]

_WRITERS = {"json": dumps, "mecha": recipe_text, "script": script_text, "card": model_card}
FORMATS = tuple(_WRITERS)


def read_text(text: str) -> Recipe:
    """A recipe from JSON, or from `.mecha` text, which begins with its version."""
    if not isinstance(text, str):
        raise RecipeError(
            "recipe", expected="JSON as text", received=shown_value(text), fix="Paste its text."
        )
    return recipe_from_text(text) if text.lstrip().startswith("version ") else loads(text)


def write_text(recipe: Recipe, form: str) -> str:
    """The recipe as JSON, as an sd-mecha recipe, as a Python script that runs it, or as a card.

    Raises: RecipeError for an unknown format; UnsupportedError where sd-mecha is not installed.
    """
    if form not in _WRITERS:
        raise RecipeError(f'export "{form}"', fix=did_you_mean(form, FORMATS))
    return _WRITERS[form](recipe)
