"""A recipe as one line of arithmetic."""

from __future__ import annotations

from ..methods.registry import get_method
from ..recipe.model import Recipe, Row

__all__ = ["formula"]


def formula(recipe: Recipe) -> str:
    """`W = base + orthomerge(2 × 0.8 (a − b), …)`, and on a second line the method in words."""
    rows = recipe.active_rows
    method = get_method(recipe.method)
    if not rows:
        return "W = base. No row is on, so nothing is merged."
    text = f"W = base + {recipe.method}({', '.join(_term(row) for row in rows)})"
    if recipe.strength != 1.0:
        text = text.replace("W = base + ", f"W = base + {recipe.strength:g} × ", 1)
    boost = recipe.texture_boost
    if boost.active:
        text += f" + {boost.alpha:g} ({boost.model} − {recipe.texture_parent()})"
    return f"{text}\n{method.label}: {method.summary}"


def _term(row: Row) -> str:
    times = f"{row.repeat} × " if row.repeat != 1 else ""
    alpha = f"{row.alpha:g} " if row.alpha != 1.0 else ""
    where = f" on [{' '.join(row.layers.split())}]" if row.layers.strip() else ""
    return f"{times}{alpha}({row.model} − {row.delta_from}){where}"
