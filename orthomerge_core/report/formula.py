"""The merge in symbols, and its method in words."""

from __future__ import annotations

from ..methods.registry import get_method
from ..recipe.formula import formula
from ..recipe.model import Recipe

__all__ = ["formula_text"]


def formula_text(recipe: Recipe) -> str:
    """`recipe.formula`, and on a second line what the method does."""
    if not recipe.active_rows and not recipe.texture_boost.active:
        return f"{formula(recipe)}\nNo row is on, so nothing is merged."
    method = get_method(recipe.method)
    return f"{formula(recipe)}\n{method.label}: {method.summary}"
