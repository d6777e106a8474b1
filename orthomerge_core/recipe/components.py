"""Fields of a recipe beyond the diffusion model: components, VAE and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import RecipeError, did_you_mean
from . import fields as f
from .model import BASE, COMPONENTS, MERGE, PREDICTIONS, ModelRef, Recipe, VaeChoice

__all__ = [
    "STRIPS",
    "changed",
    "components_from_json",
    "prediction_from_json",
    "vae_from_json",
    "vae_to_json",
]

STRIPS = ("strip_text_encoder", "strip_vae")
"""Repairs from before there were components."""


def components_from_json(data: Mapping[str, Any], repairs: Mapping[str, bool]) -> str:
    """The components that a recipe merges.

    Recipes from before there were components state a schema version and none of the fields that
    came
    with them: they stay what they were, merges of the diffusion model. What is written by hand
    without a version means the components that the base has. Of the old repairs, both switched off
    kept text encoders and VAE; either of them switched on means the diffusion model alone.
    """
    value = data.get("components")
    if value is not None:
        name = f.text(value, "components")
        if name not in COMPONENTS:
            raise RecipeError(f'unknown components "{name}"', fix=did_you_mean(name, COMPONENTS))
        return name
    strips = [repairs[name] for name in STRIPS if name in repairs]
    if strips:
        return "base" if len(strips) == len(STRIPS) and not any(strips) else "diffusion"
    rows = data.get("rows", ())
    new = (
        "vae" in data
        or "prediction" in data
        or any("text" in r for r in rows if isinstance(r, Mapping))
    )
    return "diffusion" if "schema_version" in data and not new else "base"


def vae_from_json(value: Any, models: Mapping[str, ModelRef]) -> VaeChoice:
    """Where the VAE comes from: an object, or its `from` alone."""
    if value is None:
        return VaeChoice()
    data = f.mapping({"from": value} if isinstance(value, str) else value, "vae")
    source = f.text(data.get("from", BASE), "vae, from")
    if source not in (BASE, MERGE, *models):
        source = f.file_name(source, "vae, from")
        if not source.lower().endswith((".safetensors", ".sft")):
            raise RecipeError(
                f'vae: no model "{source}", and no safetensors file of that name',
                fix=did_you_mean(source, (BASE, MERGE, *models)),
            )
    digest = f.content_hash(data.get("content_hash"), "vae, content_hash")
    return VaeChoice(
        source, digest, {k: v for k, v in data.items() if k not in ("from", "content_hash")}
    )


def vae_to_json(vae: VaeChoice) -> dict[str, Any]:
    """The choice as plain JSON."""
    known = {"from": vae.source} | ({"content_hash": vae.content_hash} if vae.content_hash else {})
    return known | dict(vae.extra)


def prediction_from_json(value: Any, models: Mapping[str, ModelRef]) -> str | None:
    """The chosen prediction type of the result; None without a choice."""
    if value is None:
        return None
    name = f.text(value, "prediction")
    known = (*PREDICTIONS, *models)
    if name not in known:
        raise RecipeError(f'unknown prediction "{name}"', fix=did_you_mean(name, known))
    return name


def changed(recipe: Recipe, fields: Mapping[str, str | None]) -> Recipe:
    """The recipe with another `vae` or `prediction`, each as in a recipe; None keeps its own."""
    if fields.get("vae") is not None:
        recipe = replace(recipe, vae=vae_from_json(fields["vae"], recipe.models))
    if fields.get("prediction") is not None:
        choice = prediction_from_json(fields["prediction"], recipe.models)
        recipe = replace(recipe, prediction=choice)
    return recipe
