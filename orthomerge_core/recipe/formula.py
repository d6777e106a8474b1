"""The merge in symbols, as the rows say it.

`web/js/table/formula.mjs` writes the same line while a person edits; both are tested against
`tests/fixtures/formula_cases.json`.
"""

from __future__ import annotations

from .model import BASE, Recipe, Row

__all__ = ["formula"]

_PLAIN, _MEAN = "task_arithmetic", "average"


def formula(recipe: Recipe) -> str:
    """One line: the base, the active rows as terms, the texture boost.

    `W = base + (a − base) − 2 × 0.5 · (b − a)` for sums, `W = base + [a, …] ∕ 3` for means, and
    `W = base + slerp(0.5 · (a − base))` for other methods. ` ∘ layers` marks a row with weights per
    layer. Names are shown without their folders. A strength other than 1 scales what is added.
    """
    boost = recipe.texture_boost
    texture = f"{_number(boost.alpha)} · Δ{_leaf(str(boost.model))}" if boost.active else ""
    change = _change(recipe.active_rows, recipe.method)
    if recipe.strength != 1.0 and (change or texture):
        inner = " + ".join(filter(None, (change, texture)))
        return f"W = {BASE} + {_number(recipe.strength)} · [{inner}]"
    lead = "" if change.startswith("− ") else "+ "
    terms = [f" {lead}{change}"] if change else []
    terms += [f" + {texture}"] if texture else []
    return f"W = {BASE}{''.join(terms)}"


def _change(rows: tuple[Row, ...], method: str) -> str:
    if not rows:
        return ""
    if method not in (_PLAIN, _MEAN):
        listed = ", ".join(("−" if row.alpha < 0 else "") + _term(row) for row in rows)
        return f"{method}({listed})"
    signs = ["−" if row.alpha < 0 else "+" for row in rows]
    leads = ["" if signs[0] == "+" else "− ", *(f"{sign} " for sign in signs[1:])]
    terms = " ".join(lead + _term(row) for lead, row in zip(leads, rows, strict=True))
    if method == _PLAIN:
        return terms
    return f"[{terms}] ∕ {sum(row.repeat for row in rows)}"


def _term(row: Row) -> str:
    """`2 × 0.5 · (detail − base) ∘ layers`, without its sign."""
    factors = [f"{row.repeat} ×"] if row.repeat > 1 else []
    factors += [f"{_number(abs(row.alpha))} ·"] if abs(row.alpha) != 1.0 else []
    layers = " ∘ layers" if row.layers.strip() else ""
    return " ".join([*factors, f"({_leaf(row.model)} − {_leaf(row.delta_from)}){layers}"])


def _leaf(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _number(value: float) -> str:
    """At most six decimals, none at the end that say nothing, and a true minus sign."""
    return f"{value:.6f}".rstrip("0").rstrip(".").replace("-", "−")
