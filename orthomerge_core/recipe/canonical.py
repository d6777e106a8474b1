"""One line of text that is equal for recipes with equal results."""

from __future__ import annotations

import json
from typing import Any

from .model import BASE, Recipe, Row
from .sd_blocks import expanded

__all__ = ["canonical"]


def canonical(recipe: Recipe) -> str:
    """One line of JSON of what decides the result: equal for recipes that give the same tensors.

    Rows that do nothing, words for people, the models' names and unknown fields are left out.
    Models are called by their content hash where it is known, else by file. Row order is kept.
    """
    boost = recipe.texture_boost
    obj = {
        "base": recipe.base_hash or recipe.base,
        "rows": [
            {
                "model": _identity(recipe, row.model),
                "delta_from": _identity(recipe, row.delta_from),
                "alpha": float(row.alpha),
                "repeat": row.repeat,
                "layers": "".join(expanded(row.layers).split()),
                **_texts(row),
            }
            for row in recipe.active_rows
        ],
        "method": recipe.method,
        "options": dict(recipe.options),
        "texture": [
            _identity(recipe, str(boost.model)),
            _identity(recipe, recipe.texture_parent()),
            float(boost.alpha),
        ]
        if boost.active
        else None,
        "output_dtype": recipe.output_dtype,
        "architecture": recipe.architecture,
        "repairs": dict(recipe.repairs),
        **({"strength": recipe.strength} if recipe.strength != 1.0 else {}),
        **_beyond_the_diffusion_model(recipe),
    }
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _beyond_the_diffusion_model(recipe: Recipe) -> dict[str, Any]:
    """What decides text encoders, VAE and markers; only what differs from a merge without them.

    A recipe from before there were components has none of these fields, and keeps its hash.
    """
    found: dict[str, Any] = {}
    if recipe.merges_parts:
        found["components"] = recipe.components
        if recipe.vae.source != BASE:
            found["vae"] = recipe.vae.content_hash or _identity(recipe, recipe.vae.source)
    if recipe.prediction is not None:
        found["prediction"] = _identity(recipe, recipe.prediction)
    return found


def _texts(row: Row) -> dict[str, Any]:
    return {} if row.text is None else {"text": row.text}


def _identity(recipe: Recipe, name: str) -> str:
    if name == BASE or name not in recipe.models:
        return name
    ref = recipe.models[name]
    file = ref.content_hash or ref.file
    return f"{file} {''.join(ref.block_map.split())}" if ref.block_map else file
