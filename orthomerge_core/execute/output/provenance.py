"""Header metadata with which a merge can be repeated; it holds no paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ... import __version__
from ...errors import OrthoMergeError, RecipeError
from ...mecha import recipe_text
from ...mecha.limits import plain_reasons
from ...recipe import codec
from ...recipe.model import BASE, Recipe
from ..plan.model import Plan
from ..plan.storage import fp8_metadata
from .ancestry import INGREDIENTS, RECIPE, Ingredient, a1111_fields, ingredients_json
from .details import FileDetails
from .inherited import inherited_config, inherited_spec

__all__ = [
    "CONTENT_HASH",
    "PLACEHOLDER",
    "RECIPE",
    "VERSION",
    "header_metadata",
    "late_metadata",
    "recipe_from_metadata",
    "vae_name",
    "with_hashes",
]

CONTENT_HASH, VERSION = "orthomerge.content_hash", "orthomerge.version"
PLACEHOLDER = "0" * 32
"""Stands for a content hash until it is known, so that the header's length is."""


def header_metadata(
    plan: Plan, *, full: bool = True, details: FileDetails | None = None
) -> dict[str, str]:
    """The header's strings before the merge, hashes as placeholders of the final length.

    `full=False` leaves out what a person may not want to publish: the recipe. What ComfyUI needs to
    load the file, the content hash, and what `details` say, stay.
    """
    told = (details or FileDetails()).metadata()
    base = plan.aligned.base.source.metadata
    out = inherited_config(base) | {"format": "pt", CONTENT_HASH: PLACEHOLDER, VERSION: __version__}
    out |= fp8_metadata({t.name: t.stored for t in plan.tensors})
    if not full:
        return out | told
    hashes = {BASE: PLACEHOLDER} | {model.name: PLACEHOLDER for model in plan.models}
    if plan.recipe.vae_file is not None:
        hashes[vae_name(plan.recipe)] = PLACEHOLDER
    out |= _modelspec(plan, base) | told
    out[RECIPE] = _recipe_text(with_hashes(plan.recipe, hashes))
    sources = _ingredients(plan)
    tree = ingredients_json(sources)
    if tree:
        out[INGREDIENTS] = tree
    if plan.target:
        stand_ins = {name: f"{i:064d}" for i, (name, _, _) in enumerate(sources)}
        out |= a1111_fields(plan.recipe, sources, stand_ins)
    # a preview's header goes nowhere, and loading sd-mecha takes seconds
    mecha = _mecha_text(plan) if plan.target else ""
    return out | ({"mecha_recipe": mecha} if mecha else {})


def late_metadata(
    plan: Plan,
    metadata: Mapping[str, str],
    content_hash: str,
    hashes: Mapping[str, str],
    files: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What becomes known only at the end, each value as long as its placeholder.

    files: SHA-256 of the sources' files, as far as it is known.
    """
    out = {CONTENT_HASH: content_hash}
    if RECIPE in metadata:
        out[RECIPE] = _recipe_text(with_hashes(plan.recipe, hashes))
    if "sd_merge_recipe" in metadata:
        known = dict(hashes) | dict(files or {})
        told = a1111_fields(plan.recipe, _ingredients(plan), known)
        # shorter hashes, and ingredients that are one file, leave room, which JSON ignores
        out |= {name: _padded(text, metadata[name]) for name, text in told.items()}
    return out


def _padded(text: str, placeholder: str) -> str:
    """JSON as long as its placeholder, both by itself and quoted in the header.

    Quoting lengthens quotes, backslashes and line breaks by one, and white space changes nothing.
    """
    room = len(placeholder.encode()) - len(text.encode())
    breaks = _quoting(placeholder) - _quoting(text)
    return text + "\n" * breaks + " " * (room - breaks)


def _quoting(text: str) -> int:
    return text.count('"') + text.count("\\")


def _ingredients(plan: Plan) -> list[Ingredient]:
    """Every source of the merge with its file name and header, the base first."""
    files = {BASE: plan.recipe.base, vae_name(plan.recipe): plan.recipe.vae.source}
    files |= {name: ref.file for name, ref in plan.recipe.models.items()}
    found = []
    for model in plan.sources():
        name = model.name if model.name in files else vae_name(plan.recipe)
        found.append((name, files[name], model.source.metadata))
    return found


def with_hashes(recipe: Recipe, hashes: Mapping[str, str]) -> Recipe:
    """The recipe with the content hashes of its sources filled in; "base" is the base's."""
    models = {
        name: replace(ref, content_hash=hashes.get(name, ref.content_hash))
        for name, ref in recipe.models.items()
    }
    vae = recipe.vae
    if recipe.vae_file is not None:
        vae = replace(vae, content_hash=hashes.get(vae_name(recipe), vae.content_hash))
    return replace(recipe, models=models, base_hash=hashes.get(BASE, recipe.base_hash), vae=vae)


def vae_name(recipe: Recipe) -> str:
    """What the file that gives the VAE is called among content hashes."""
    return f"VAE {recipe.vae.source}"


def recipe_from_metadata(metadata: Mapping[str, str], name: str) -> Recipe:
    """The recipe in a merged file's header; `RecipeError` if there is none."""
    if RECIPE not in metadata:
        raise RecipeError(
            f'"{name}" holds no recipe',
            fix="Only files that were merged here do; open a JSON file.",
        )
    return codec.loads(metadata[RECIPE])


def _recipe_text(recipe: Recipe) -> str:
    return json.dumps(codec.to_json(recipe), separators=(",", ":"), ensure_ascii=False)


def _modelspec(plan: Plan, base: Mapping[str, str]) -> dict[str, str]:
    kept = inherited_spec(base, [model.source.metadata for model in plan.models])
    method = plan.recipe.method
    title = Path(plan.target).stem if plan.target else f"{method} merge"
    if plan.aligned.architecture.marks_prediction or plan.markers.added:
        key = "v" if plan.markers.words.startswith("v") else "epsilon"
        kept |= {"modelspec.predict_key": key, "modelspec.prediction_type": key}
    return kept | {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": kept.get(
            "modelspec.architecture", plan.aligned.architecture.modelspec_of(plan.aligned.shapes)
        ),
        "modelspec.title": title,
        "modelspec.description": _description(plan),
        "modelspec.merged_from": ", ".join(
            [plan.recipe.base, *(plan.recipe.models[m.name].file for m in plan.models)]
        ),
    }


def _description(plan: Plan) -> str:
    """How the file was made, and of what besides files."""
    words = f"Merged by OrthoMerge Studio {__version__}: {plan.recipe.method}."
    live = [model.name for model in plan.models if model.source.is_live]
    if not live:
        return words
    return f"{words} Not repeatable from files alone: {', '.join(live)} came from ComfyUI's graph."


def _mecha_text(plan: Plan) -> str:
    """The recipe in sd-mecha's words, or "" where sd-mecha would not give these very tensors."""
    if plan.markers.added or plan.markers.dropped or plain_reasons(plan.aligned, plan.models):
        return ""
    try:
        return recipe_text(plan.recipe, native=not plan.is_checkpoint)
    except OrthoMergeError:
        return ""
