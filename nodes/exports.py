"""Recipes as text in other tools' formats."""

from __future__ import annotations

from ..orthomerge_core.errors import RecipeError, UnsupportedError, did_you_mean
from ..orthomerge_core.recipe.codec import dumps
from .wire import RecipeWire

__all__ = ["FORMATS", "export_text"]

FORMATS = ("json", "mecha", "script")


def export_text(wire: RecipeWire, form: str) -> str:
    """The recipe as JSON, as an sd-mecha recipe, or as a Python script that runs it."""
    if form not in FORMATS:
        raise RecipeError(f'export "{form}"', fix=did_you_mean(form, FORMATS))
    if form == "json":
        return dumps(wire.recipe)
    try:
        from ..orthomerge_core import mecha
    except ImportError:
        raise UnsupportedError(
            f'export "{form}" needs sd-mecha', fix="pip install sd-mecha, or export JSON."
        ) from None
    return str(
        mecha.recipe_text(wire.recipe) if form == "mecha" else mecha.script_text(wire.recipe)
    )
