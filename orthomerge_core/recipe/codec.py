"""Recipes as JSON: reading with errors that name the place, writing, and a canonical form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..errors import RecipeError, did_you_mean, quoted
from . import fields as f
from .canonical import canonical
from .components import (
    STRIPS,
    components_from_json,
    prediction_from_json,
    vae_from_json,
    vae_to_json,
)
from .migrations import MIGRATIONS, migrate
from .model import (
    ALPHA_LIMIT,
    BASE,
    MAX_ROWS,
    OUTPUT_DTYPES,
    SCHEMA_VERSION,
    ModelRef,
    Recipe,
    Row,
    TextureBoost,
    VaeChoice,
)

__all__ = [
    "MAX_CHARS",
    "MAX_MODELS",
    "MAX_ROWS",
    "MIGRATIONS",
    "RECIPE_FIELDS",
    "ROW_FIELDS",
    "canonical",
    "dumps",
    "from_json",
    "loads",
    "migrate",
    "row_from_json",
    "row_to_json",
    "to_json",
]

MAX_MODELS = 256
_ANALYSIS = {"cosine", "tensors", "content_hashes"}
MAX_CHARS = 1_000_000
"""Of a recipe's text, four thousand for each of the most rows: it is parsed and checked within 50
ms, in which ComfyUI's server answers nobody."""

TEXTURE_LIMIT = 0.5

ROW_FIELDS = ("enabled", "model", "delta_from", "alpha", "text", "repeat", "layers", "info")
RECIPE_FIELDS = (
    "schema_version",
    "base",
    "base_hash",
    "architecture",
    "models",
    "rows",
    "method",
    "options",
    "texture_boost",
    "output_dtype",
    "strength",
    "components",
    "vae",
    "prediction",
    "repairs",
)


def loads(text: str) -> Recipe:
    """Read a recipe from JSON text; `RecipeError` names what is wrong and where."""
    if len(text) > MAX_CHARS:
        raise RecipeError(
            "recipe is too long",
            expected=f"at most {MAX_CHARS} characters",
            received=len(text),
            fix="Remove what does not belong to the merge.",
        )
    try:
        obj = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # ValueError alone: a number of 4300 digits
        place = ""
        if isinstance(error, json.JSONDecodeError):
            place = f" at line {error.lineno}, column {error.colno}"
        raise RecipeError(
            f"recipe is not JSON{place}", fix="Export it again, or mend the text."
        ) from None
    return from_json(obj)


def dumps(recipe: Recipe) -> str:
    """The recipe as readable JSON text; `loads` gives the same recipe back."""
    return json.dumps(to_json(recipe), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(obj: Any) -> Recipe:
    """Read a recipe from parsed JSON; fields that this version does not know are kept.

    Types, ranges and file names are checked here. What needs other rows or the methods (cycles,
    option values) is checked by `check.problems` and by the plan.
    """
    data = migrate(f.mapping(obj, "recipe"))
    if data.keys() >= _ANALYSIS:
        raise RecipeError(
            "this is an analysis, not a recipe", fix="Let the optimizer make a recipe of it first."
        )
    f.plain_json(data, "recipe")
    repairs = _repairs(data.get("repairs"))
    models = _models(data.get("models", {}))
    texture = f.optional_mapping(data.get("texture_boost"), "texture_boost")
    return Recipe(
        base=f.file_name(f.required(data, "base", "recipe"), "base"),
        models=models,
        rows=_rows(data.get("rows", [])),
        method=f.text(data.get("method", "orthomerge"), "method"),
        options=dict(f.optional_mapping(data.get("options"), "options")),
        texture_boost=_texture(texture),
        output_dtype=_output_dtype(data.get("output_dtype", "base")),
        architecture=f.text(data.get("architecture", "auto"), "architecture"),
        repairs={name: on for name, on in repairs.items() if name not in STRIPS},
        base_hash=f.content_hash(data.get("base_hash"), "base_hash"),
        extra=_rest(data, RECIPE_FIELDS),
        components=components_from_json(f.mapping(obj, "recipe"), repairs),
        vae=vae_from_json(data.get("vae"), models),
        prediction=prediction_from_json(data.get("prediction"), models),
        strength=f.number(data.get("strength", 1.0), "strength", -ALPHA_LIMIT, ALPHA_LIMIT),
    )


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON in the documented order; empty optional fields are left out."""
    boost = recipe.texture_boost
    out: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "base": recipe.base}
    if recipe.base_hash:
        out["base_hash"] = recipe.base_hash
    out |= {
        "architecture": recipe.architecture,
        "models": {name: _model_to_json(ref) for name, ref in recipe.models.items()},
        "rows": [row_to_json(row) for row in recipe.rows],
        "method": recipe.method,
        "options": dict(recipe.options),
        "texture_boost": {"model": boost.model, "alpha": boost.alpha, **boost.extra},
        "output_dtype": recipe.output_dtype,
    }
    if recipe.strength != 1.0:
        out["strength"] = recipe.strength
    if recipe.merges_parts:
        out["components"] = recipe.components
    if recipe.vae != VaeChoice():
        out["vae"] = vae_to_json(recipe.vae)
    if recipe.prediction is not None:
        out["prediction"] = recipe.prediction
    if recipe.repairs:
        out["repairs"] = dict(recipe.repairs)
    return out | dict(recipe.extra)


def row_from_json(obj: Any, place: str = "row") -> Row:
    """Read one row; errors start with `place`."""
    data = f.mapping(obj, place)
    return Row(
        model=f.text(f.required(data, "model", place), f"{place}, model"),
        delta_from=f.text(data.get("delta_from", BASE), f"{place}, delta_from"),
        alpha=f.number(data.get("alpha", 1.0), f"{place}, alpha", -ALPHA_LIMIT, ALPHA_LIMIT),
        enabled=f.flag(data.get("enabled", True), f"{place}, enabled"),
        repeat=f.integer(data.get("repeat", 1), f"{place}, repeat", 1, 3),
        layers=f.text(
            data.get("layers", ""), f"{place}, layers", empty=True, longest=f.LONGEST_TEXT
        ),
        info=f.text(data.get("info", ""), f"{place}, info", empty=True, longest=f.LONGEST_TEXT),
        extra=_rest(data, ROW_FIELDS),
        text=f.text_alphas(data.get("text"), f"{place}, text", ALPHA_LIMIT),
    )


def row_to_json(row: Row) -> dict[str, Any]:
    """One row as plain JSON; `text` only where it is set."""
    out = {
        name: getattr(row, name) for name in ROW_FIELDS if name != "text" or row.text is not None
    }
    if isinstance(row.text, tuple):
        out["text"] = list(row.text)
    return out | dict(row.extra)


def _rows(value: Any) -> tuple[Row, ...]:
    rows = f.sequence(value, "rows")
    if len(rows) > MAX_ROWS:
        raise RecipeError(
            "recipe has too many rows",
            expected=f"at most {MAX_ROWS}",
            received=len(rows),
            fix="Remove the rows that are switched off.",
        )
    return tuple(row_from_json(row, f"row {i}") for i, row in enumerate(rows, 1))


def _models(value: Any) -> dict[str, ModelRef]:
    models = f.mapping(value, "models")
    if len(models) > MAX_MODELS:
        raise RecipeError(
            "recipe has too many models",
            expected=f"at most {MAX_MODELS}",
            received=len(models),
            fix="Remove the models that no row uses.",
        )
    if BASE in models:
        raise RecipeError(
            f'a model is named "{BASE}", which stands for the base', fix="Give it another name."
        )
    return {f.text(name, "models, a name"): _model(name, ref) for name, ref in models.items()}


def _model(name: str, value: Any) -> ModelRef:
    place = f'models, "{quoted(name, 80)}"'
    data = f.mapping({"file": value} if isinstance(value, str) else value, place)
    return ModelRef(
        file=f.file_name(f.required(data, "file", place), f"{place}, file"),
        content_hash=f.content_hash(data.get("content_hash"), f"{place}, content_hash"),
        block_map=f.text(
            data.get("block_map", ""), f"{place}, block_map", empty=True, longest=f.LONGEST_TEXT
        ),
        extra=_rest(data, ("file", "content_hash", "block_map", "live")),
        live=f.flag(data.get("live", False), f"{place}, live"),
    )


def _model_to_json(ref: ModelRef) -> dict[str, Any]:
    known: dict[str, Any] = {"file": ref.file}
    if ref.content_hash:
        known["content_hash"] = ref.content_hash
    if ref.block_map:
        known["block_map"] = ref.block_map
    if ref.live:
        known["live"] = True
    return known | dict(ref.extra)


def _repairs(value: Any) -> dict[str, bool]:
    stated = f.optional_mapping(value, "repairs")
    return {name: f.flag(on, f"repairs.{name}") for name, on in stated.items()}


def _texture(data: Mapping[str, Any]) -> TextureBoost:
    model = data.get("model")
    return TextureBoost(
        model=None if model in (None, "") else f.text(model, "texture_boost, model"),
        alpha=f.number(data.get("alpha", 0.0), "texture_boost, alpha", 0.0, TEXTURE_LIMIT),
        extra=_rest(data, ("model", "alpha")),
    )


def _output_dtype(value: Any) -> str:
    name = f.text(value, "output_dtype")
    if name not in OUTPUT_DTYPES:
        raise RecipeError(f'unknown output_dtype "{name}"', fix=did_you_mean(name, OUTPUT_DTYPES))
    return name


def _rest(data: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in known}


def _no_constant(name: str) -> None:
    raise RecipeError(f"recipe: {name} is not a JSON number", fix="Write a finite number.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        twice = next(name for name, count in Counter(n for n, _ in pairs).items() if count > 1)
        what = f'recipe: "{quoted(twice, 80)}" appears twice'
        raise RecipeError(what, fix="Remove one of the two.")
    return out
