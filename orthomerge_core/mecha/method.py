"""Our merge method inside sd-mecha: one call that carries a whole recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..errors import RecipeError, UnsupportedError
from ..keys.architecture import Architecture
from ..keys.components import DIFFUSION, VAE, component_of, is_schedule
from ..keys.known import get_architecture
from ..keys.markers import is_buffer, is_marker
from ..keys.normalize import normalize_shapes
from ..methods.contract import Rows
from ..methods.registry import get_method
from ..methods.seeds import key_generator
from ..recipe.codec import from_json
from ..recipe.layers import LayerWeights, parse_layers
from ..recipe.model import BASE, MERGE, Recipe

__all__ = ["METHOD", "merge_tensor", "register", "used_models"]

METHOD = "orthomerge_studio"
"""The name of our merge method in `.mecha` text."""


def merge_tensor(
    recipe: Recipe,
    key: str,
    block: str,
    base: Tensor,
    models: Mapping[str, Tensor],
    blocks: Sequence[str] = (),
) -> Tensor:
    """One tensor of a recipe, as the executor merges it: float32, repaired from the base.

    Args:
        key: canonical.
        block: the key's block, for `layers`; `blocks`: all that the model has.
        models: name → weights of the base's shape; a model that is absent there has no delta.
    """
    component = component_of(key)
    if not recipe.merges_parts and component != DIFFUSION:
        return base.clone()
    if component == VAE and recipe.vae.source != MERGE:
        return models.get(recipe.vae.source, base).clone()
    deltas = {name: weights - base for name, weights in models.items()}

    def between(model: str, parent: str) -> Tensor:
        change = deltas.get(model, torch.zeros_like(base))
        return change if parent == BASE else change - deltas.get(parent, torch.zeros_like(base))

    acting: list[tuple[Tensor, float, int, Tensor | None]] = []
    for row in recipe.active_rows:
        alpha = row.alpha_in(component) * _layers(row.layers, tuple(blocks)).weight(key, block)
        delta = between(row.model, row.delta_from)
        if alpha == 0.0 or not bool(torch.isfinite(delta).all()):
            continue
        if bool(delta.count_nonzero()):
            origin = None if row.delta_from == BASE else between(row.delta_from, BASE)
            acting.append((delta, alpha, row.repeat, origin))
    merged = base.clone()
    if acting:
        method = get_method(recipe.method)
        options = method.check_options(recipe.options)
        generator = key_generator(key, int(options.get("seed", 0)))
        rows = Rows(*(list(column) for column in zip(*acting, strict=True)))
        merged = method.merge(base, rows, options, generator)
        if recipe.strength != 1.0:
            merged = merged.sub(base).mul_(recipe.strength).add_(base)
    if recipe.texture_boost.model is not None and recipe.texture_boost.active:
        texture = between(recipe.texture_boost.model, recipe.texture_parent())
        if bool(torch.isfinite(texture).all()):
            merged = merged + recipe.texture_boost.alpha * recipe.strength * texture
    return merged if bool(torch.isfinite(merged).all()) else base.clone()


def register() -> None:
    """Make `orthomerge_studio` known to sd-mecha; a second call does nothing."""
    import sd_mecha  # noqa: F401  all of it, even where another thread is loading it just now
    from sd_mecha.extensions import merge_methods

    if METHOD in {method.get_identifier() for method in merge_methods.get_all()}:
        return
    parameter, returned = merge_methods.Parameter, merge_methods.Return
    weights = merge_methods.StateDict[Tensor]

    def orthomerge_studio(base, *models, recipe="", **kwargs):  # type: ignore[no-untyped-def]
        key = kwargs["key"]
        own = base[key]
        plan, names = _plan(recipe)
        known = base.model_config.keys()
        kind = known[key].dtype if key in known else None
        if kind is not None and not kind.is_floating_point:
            return own
        layout = _layout(base.model_config, plan.architecture)
        name = layout.names.get(key)
        if name is None:  # a schedule, a marker, or what no component claims
            return own
        present = {n: m[key] for n, m in zip(names, models, strict=True) if key in m}
        fitting = {n: t for n, t in present.items() if t.shape == own.shape}
        block = layout.architecture.block(name)
        return merge_tensor(plan, name, block, own, fitting, layout.blocks)

    orthomerge_studio.__annotations__ = {
        "base": parameter(weights, "weight"),
        "models": parameter(weights, "weight"),
        "recipe": parameter(str),
        "return": returned(Tensor, "weight"),
    }
    merge_methods.merge_method(orthomerge_studio, identifier=METHOD)


def used_models(recipe: Recipe) -> tuple[str, ...]:
    """Models that act, and their parents, in the recipe's order."""
    needed = {name for row in recipe.active_rows for name in (row.model, row.delta_from)}
    if recipe.texture_boost.active:
        needed |= {str(recipe.texture_boost.model), recipe.texture_parent()}
    needed |= {name for name in (recipe.vae.source,) if name in recipe.chosen_models()}
    unknown = sorted(needed - set(recipe.models) - {BASE})
    if unknown:
        raise RecipeError(
            f'model "{unknown[0]}" has no file in the recipe',
            expected="one of " + ", ".join(recipe.models),
            fix='Add it under "models".',
        )
    live = next((name for name in recipe.models if name in needed and recipe.models[name].live), "")
    if live:
        raise UnsupportedError(
            f'"{live}" was a MODEL connected in ComfyUI, which sd-mecha cannot open',
            fix="Save that MODEL and name its file, or name its LoRA's file in the set.",
        )
    return tuple(name for name in recipe.models if name in needed)


@lru_cache(maxsize=8)
def _plan(text: str) -> tuple[Recipe, tuple[str, ...]]:
    recipe = from_json(json.loads(text))
    return recipe, used_models(recipe)


@lru_cache(maxsize=64)
def _layers(text: str, blocks: tuple[str, ...]) -> LayerWeights:
    return parse_layers(text, blocks)


@dataclass(frozen=True)
class _Layout:
    """What a config's keys mean: key → canonical name of what is merged, and all their blocks."""

    architecture: Architecture
    names: Mapping[str, str]
    blocks: tuple[str, ...]


@lru_cache(maxsize=4)
def _layout(config: Any, architecture: str) -> _Layout:
    """The layout of a model config, which sd-mecha hands over with every key."""
    shapes = {key: tuple(known.shape) for key, known in config.keys().items()}
    view = normalize_shapes(shapes, components=True)
    known = view.architecture if architecture == "auto" else get_architecture(architecture)
    names = {}
    for name, piece in {**view.pieces, **view.parts}.items():
        state = is_marker(name) or is_buffer(name) or is_schedule(name)
        if len(piece.segments) == 1 and not state:
            names[piece.segments[0].key] = name
    return _Layout(known, names, tuple(dict.fromkeys(map(known.block, names.values()))))
