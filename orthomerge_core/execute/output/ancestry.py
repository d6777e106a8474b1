"""The recipes of a merge's ingredients, and of theirs, to any depth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...recipe.model import BASE, Recipe

__all__ = [
    "INGREDIENTS",
    "MAX_BYTES",
    "RECIPE",
    "Ingredient",
    "a1111_fields",
    "family_tree",
    "ingredients_json",
]

RECIPE, INGREDIENTS, MODELS = "orthomerge.recipe", "orthomerge.ingredients", "sd_merge_models"
MAX_BYTES = 1 << 20
"""Of one field: what does not fit loses its deepest levels first."""

_MAX_DEPTH = 32
Header = Mapping[str, str]
Ingredient = tuple[str, str, Header]
"""Name in the recipe, file name, the file's header."""


def family_tree(header: Header, depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """The merge recorded in a header, and those of its ingredients; {} for other files.

    `recipe`: as in the header, or `sd_merge_recipe` of another program. `ingredients`: name →
    `file` and the same again.
    """
    found: dict[str, Any] = {}
    recipe = _object(header.get(RECIPE)) or _object(header.get("sd_merge_recipe"))
    if recipe and depth > 0:
        found["recipe"] = recipe
        ingredients = _object(header.get(INGREDIENTS))
        if ingredients:
            found["ingredients"] = _cut(ingredients, depth - 1)
        elif RECIPE not in header and _object(header.get(MODELS)):
            found["models"] = _object(header.get(MODELS))
    return found


def ingredients_json(sources: Sequence[Ingredient]) -> str:
    """`orthomerge.ingredients`: what the headers of the ingredients tell; "" where none tells."""
    for depth in range(_MAX_DEPTH, 0, -1):
        told = {}
        for name, file, header in sources:
            tree = family_tree(header, depth)
            if tree:
                told[name] = {"file": file, **tree}
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":")) if told else ""
        if len(text.encode()) <= MAX_BYTES:
            return text
    return ""


def a1111_fields(
    recipe: Recipe, sources: Sequence[Ingredient], hashes: Mapping[str, str]
) -> dict[str, str]:
    """`sd_merge_recipe` and `sd_merge_models`, as AUTOMATIC1111's web UI and its kin write them.

    hashes: name → the hash that stands for the file: SHA-256 where it is known, else ours. The
    models of an ingredient that is a merge itself are listed beside it, as the web UI does.
    """
    models: dict[str, Any] = {}
    for name, file, header in sources:
        own = _object(header.get("sd_merge_recipe")) or _object(header.get(RECIPE)) or None
        inherited = _object(header.get(MODELS))
        models |= inherited
        models[hashes[name]] = {"name": file, "legacy_hash": "", "sd_merge_recipe": own}
    told = {
        "type": "orthomerge",
        "primary_model_hash": hashes.get(BASE, ""),
        "method": recipe.method,
        "rows": [
            {
                "model_hash": hashes.get(row.model, ""),
                "delta_from": hashes.get(row.delta_from, ""),
                "alpha": row.alpha,
                "text": list(row.text) if isinstance(row.text, tuple) else row.text,
                "repeat": row.repeat,
                "layers": row.layers,
            }
            for row in recipe.active_rows
        ],
    }
    fields = {"sd_merge_recipe": _compact(told), MODELS: _compact(models)}
    return fields if all(len(t.encode()) <= MAX_BYTES for t in fields.values()) else {}


def _cut(ingredients: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """The tree without what lies deeper than `depth`."""
    found: dict[str, Any] = {}
    for name, node in ingredients.items():
        if not isinstance(node, Mapping):
            continue
        kept = {key: node[key] for key in ("file", "recipe", "models") if key in node}
        if depth <= 0:
            kept = {key: kept[key] for key in ("file",) if key in kept}
        below = node.get("ingredients")
        if isinstance(below, Mapping) and depth > 0:
            kept["ingredients"] = _cut(below, depth - 1)
        found[str(name)] = kept
    return found


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _object(text: str | None) -> dict[str, Any]:
    """A JSON object from a header of any origin; {} for anything else."""
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
