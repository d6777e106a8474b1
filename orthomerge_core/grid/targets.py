"""The parts of a recipe that an axis can change, by the names that people write.

To add a kind: a subclass of `Target` in `kinds` and its line in `find_target`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import RecipeError, did_you_mean
from ..methods.contract import DecomposedMethod
from ..methods.registry import all_methods, get_method
from ..recipe.check import find_cycle
from ..recipe.model import ALPHA_LIMIT, BASE, OUTPUT_DTYPES, Recipe, Row
from .kinds import Choice, Cost, LeaveOneOut, Number, Option, Setting, Target, with_rows

__all__ = ["Setting", "Target", "find_target"]


def find_target(text: str, recipe: Recipe) -> Target:
    """The target of an axis: `alpha`, `text`, `strength`, `method`, `models`, `only`,
    `output_dtype`, `texture`, `layers[PATTERN]` of all rows, an option of the method, or
    `MODEL.FIELD` with the fields `alpha`, `text`, `repeat`, `delta_from`, `on`, `layers[PATTERN]`.

    Raises:
        RecipeError: no such target, with what there is.
    """
    text = text.strip()
    plain = _of_recipe(text, recipe)
    if plain is not None:
        return plain
    names = {row.model for row in recipe.rows}
    for name in sorted(names, key=len, reverse=True):
        if text.startswith(f"{name}."):
            return _of_row(text[len(name) + 1 :].strip(), recipe, name)
    fields = (
        "alpha",
        "text",
        "strength",
        "method",
        "models",
        "only",
        "output_dtype",
        "texture",
    )
    options = tuple(p.name for p in get_method(recipe.method).params)
    rows = tuple(f"{name}.alpha" for name in sorted(names))
    raise RecipeError(
        f'axis: nothing is called "{text}"',
        fix=did_you_mean(text, (*fields, "layers[…]", *options, *rows)),
    )


def _of_recipe(text: str, recipe: Recipe) -> Target | None:
    method = get_method(recipe.method)
    if text == "strength":
        return Number(text, -5.0, 5.0, _set("strength"), Cost.RESCALE)
    if text == "method":
        return Choice(text, lambda _: tuple(all_methods()), _set_method, Cost.METHOD)
    if text in ("models", "only"):
        return LeaveOneOut(text, only=text == "only")
    if text == "output_dtype":
        return Choice(text, lambda _: OUTPUT_DTYPES, _set("output_dtype"), Cost.COMBINE)
    if text == "texture":
        return Number(text, 0.0, 0.5, _set_texture)
    if text in ("alpha", "text") or (text.startswith("layers[") and text.endswith("]")):
        return _of_row(text, recipe, None)
    for param in method.params:
        if param.name == text:
            parts = method.decompose_params if isinstance(method, DecomposedMethod) else ()
            return Option(param, Cost.DECOMPOSE if text in parts else Cost.COMBINE)
    return None


def _of_row(field: str, recipe: Recipe, model: str | None) -> Target:
    """A field of the rows of one model, or of all rows."""
    name = field if model is None else f"{model} {field}"

    def put(change: Callable[[Row, Any], Row]) -> Callable[[Setting, Any], Setting]:
        return lambda setting, value: with_rows(
            setting, lambda row: change(row, value) if model in (None, row.model) else row
        )

    if field == "alpha":
        limit = ALPHA_LIMIT
        return Number(name, -limit, limit, put(lambda row, v: replace(row, alpha=v)))
    if field == "text":
        limit = ALPHA_LIMIT
        return Number(name, -limit, limit, put(lambda row, v: replace(row, text=v)))
    if field == "repeat":
        return Number(name, 1, 3, put(lambda row, v: replace(row, repeat=round(v))), whole=True)
    if field == "on":
        change = put(lambda row, v: replace(row, enabled=v == "on"))
        return Choice(name, lambda _: ("off", "on"), change, Cost.DECOMPOSE)
    if field == "delta_from" and model is not None:
        change = put(lambda row, v: replace(row, delta_from=v))
        return Choice(name, lambda r: _parents(r, model), change, Cost.DECOMPOSE)
    if field.startswith("layers[") and field.endswith("]"):
        pattern = field[7:-1].strip()
        return Number(name, -5.0, 5.0, put(lambda row, v: _with_layer(row, pattern, v)))
    known = ("alpha", "text", "repeat", "on", "delta_from", "layers[PATTERN]")
    raise RecipeError(f'axis: a row has no field "{field}"', fix=did_you_mean(field, known))


def _with_layer(row: Row, pattern: str, weight: float) -> Row:
    """The row with `pattern=weight` in front of its other layer weights: the first match wins."""
    rest = row.layers.strip()
    return replace(row, layers=f"{pattern}={weight:g}" + (f", {rest}" if rest else ""))


def _parents(recipe: Recipe, model: str) -> tuple[str, ...]:
    """Delta bases that make no circle: the base, and every other model that does not follow it."""
    found = [BASE]
    for candidate in recipe.models:
        parents: dict[str, tuple[str, ...]] = {}
        for row in recipe.rows:
            parent = candidate if row.model == model else row.delta_from
            if row.enabled and parent != BASE:
                parents[row.model] = (*parents.get(row.model, ()), parent)
        if candidate != model and not find_cycle(parents):
            found.append(candidate)
    return tuple(found)


def _set(field: str) -> Callable[[Setting, Any], Setting]:
    return lambda setting, value: replace(setting, recipe=replace(setting.recipe, **{field: value}))


def _set_method(setting: Setting, value: str) -> Setting:
    """Another method as a new mix starts with it; the recipe's own method keeps its options."""
    if value == setting.recipe.method:
        return setting
    options = get_method(value).new_options()
    return replace(setting, recipe=replace(setting.recipe, method=value, options=options))


def _set_texture(setting: Setting, value: float) -> Setting:
    boost = setting.recipe.texture_boost
    if boost.model is None:
        raise RecipeError(
            "axis: the recipe has no texture model", fix="Choose a texture model in the mixer."
        )
    return _set("texture_boost")(setting, replace(boost, alpha=value))
