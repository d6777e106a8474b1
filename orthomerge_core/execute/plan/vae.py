"""Chooses the model or file that provides a merged checkpoint's VAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import CompatibilityError, OrthoMergeError, PlanError
from ...io.opening import open_source
from ...io.source import Source
from ...keys.aligned import AlignedModel, AlignedSet, Segment
from ...keys.components import VAE, claim
from ...keys.parts import match_parts
from ...keys.remap import whole
from ...keys.setspec import SetSpec
from ...recipe.model import BASE, MERGE, Recipe

__all__ = ["vae_model"]


def vae_model(recipe: Recipe, spec: SetSpec, aligned: AlignedSet) -> AlignedModel | None:
    """The model whose VAE the result takes whole; None where it is the base's, or merged.

    A file is opened here; it holds a VAE alone, or a checkpoint with one. `PlanError` where the
    base has no VAE to replace, or the choice does not hold one of its shape.
    """
    source = recipe.vae.source
    if not recipe.merges_parts or source in (BASE, MERGE):
        return None
    if not aligned.keys_of(VAE):
        raise PlanError([_no_place(source)])
    if source in recipe.models:
        return _complete(aligned.model(source), aligned, source)
    if spec.vae is None or spec.vae.path is None:
        what = f'the VAE "{source}" was not found'
        raise PlanError([CompatibilityError(what, fix="Choose the file again.")])
    return open_vae(spec.vae.path, source, aligned)


def open_vae(path: Path, name: str, aligned: AlignedSet) -> AlignedModel:
    """A VAE file laid over the base's VAE; closes it again where it does not fit."""
    opened = open_source(path, name=path.name)
    try:
        model = replace(aligned.base, name=name, source=opened, segments=_lay(opened, aligned))
        return _complete(model, aligned, name)
    except BaseException:
        opened.close()
        raise


def _lay(source: Source, aligned: AlignedSet) -> Mapping[str, tuple[Segment, ...]]:
    shapes = {key: entry.shape for key, entry in source.entries.items()}
    names, _ = claim(aligned.architecture.components, shapes)
    names = {key: name for key, name in names.items() if name.startswith(f"{VAE}.")}
    names = names or {key: f"{VAE}.{key}" for key in shapes}
    wanted = {key: aligned.shapes[key] for key in aligned.keys_of(VAE)}
    parts = {name: whole(key, shapes[key]) for key, name in names.items()}
    return match_parts(wanted, parts, source).segments


def _complete(model: AlignedModel, aligned: AlignedSet, name: str) -> AlignedModel:
    wanted = aligned.keys_of(VAE)
    found = sum(model.has(key) for key in wanted)
    if found == len(wanted):
        return model
    problem: OrthoMergeError = CompatibilityError(
        f'"{name}" does not hold a VAE like the base\'s',
        expected=f"{len(wanted)} tensors of the base's names and shapes",
        received=found,
        fix="Choose a VAE of this architecture in its original (not diffusers) names.",
    )
    raise PlanError([problem])


def _no_place(source: str) -> CompatibilityError:
    return CompatibilityError(
        f'the VAE of "{source}" has no place: the base holds no VAE',
        fix="Choose a checkpoint as the base, or set vae to base.",
    )
