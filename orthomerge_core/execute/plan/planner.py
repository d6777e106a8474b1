"""Checks a merge completely before the first tensor is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import CompatibilityError, OrthoMergeError, PlanError, RecipeError, did_you_mean
from ...keys.aligned import AlignedModel, AlignedSet
from ...keys.components import VAE, component_of
from ...keys.opening import open_set
from ...keys.setspec import SetSpec
from ...messages import Message
from ...methods.contract import Method
from ...methods.registry import get_method
from ...recipe.check import problems as recipe_problems
from ...recipe.layers import LayerWeights, parse_layers
from ...recipe.model import BASE, MERGE, OUTPUT_DTYPES, Recipe, Row
from ...recipe.sd_blocks import expanded, last_output_block
from .destination import room_problems, target_problems
from .gguf_file import ggml_encoder, gguf_problems, layout_problems
from .model import Plan, PlanRow, TensorPlan
from .notes import plan_notes
from .pace import Pace
from .prediction import settle_markers
from .storage import stored_as
from .vae import vae_model

__all__ = ["LAYOUTS", "plan_merge", "problems_without_files"]

LAYOUTS = ("auto", "checkpoint", "diffusion")
"""What kind of file a merge becomes."""


@dataclass(frozen=True)
class Destination:
    """The file to be written, None for memory, and whether it may replace another."""

    target: Path | None
    overwrite: bool


def plan_merge(
    recipe: Recipe,
    spec: SetSpec,
    *,
    output_dtype: str | None = None,
    target: Path | None = None,
    overwrite: bool = False,
    layout: str = "auto",
    pace: Pace | None = None,
) -> Plan:
    """Check a recipe against its files; headers are read, tensors are not.

    Args:
        spec: where the recipe's models lie; those it does not use are not opened.
        output_dtype: overrides the recipe's.
        target: the file to be written; None merges in memory.
        overwrite: whether an existing target is replaced.
        layout: "checkpoint", "diffusion" for the diffusion model alone, or "auto": a checkpoint
            where the base is one and the recipe merges its components.
        pace: how fast earlier merges were, for the estimate of time.

    Raises:
        PlanError: every problem of the recipe, the files and the target, collected.
        FileError: a file cannot be opened.
    """
    problems = recipe_problems(recipe)
    problems += _missing(recipe, spec)
    if layout not in LAYOUTS:
        problems.append(
            RecipeError(f'unknown layout "{layout}"', fix=did_you_mean(layout, LAYOUTS))
        )
    settled = _settle(recipe, output_dtype, problems)
    in_gguf = ggml_encoder(settled.recipe.output_dtype) is not None
    problems += gguf_problems(settled.recipe.output_dtype, target, layout)
    if target is not None:
        problems += target_problems(target, spec, overwrite, gguf=in_gguf)
    if problems:
        raise PlanError(problems)
    used = settled.recipe.used_models()
    components = "diffusion" if layout == "diffusion" or in_gguf else recipe.components
    models = tuple(m for m in spec.models if m.name in used)
    wanted = replace(spec, models=models, components=components)
    aligned = open_set(wanted, allow_empty=True, find_duplicates=False)
    try:
        if layout == "checkpoint" and len(aligned.components) < 2:
            raise PlanError([_no_checkpoint(recipe)])
        plan = _lay_out(settled, aligned, used, Destination(target, overwrite), wanted)
        return plan if pace is None else replace(plan, pace=pace.factor(plan.recipe.method))
    except BaseException:
        aligned.close()
        raise


def problems_without_files(recipe: Recipe) -> list[OrthoMergeError]:
    """What is wrong with a recipe whatever its files hold: rows, method, options, output dtype."""
    found = recipe_problems(recipe)
    _settle(recipe, None, found)
    return found


@dataclass(frozen=True)
class _Settled:
    recipe: Recipe
    method: Method | None
    options: Mapping[str, Any]


def _missing(recipe: Recipe, spec: SetSpec) -> list[OrthoMergeError]:
    there = spec.names()
    return [
        RecipeError(f'model "{name}" is not in the opened set', fix=did_you_mean(name, there))
        for name in recipe.used_models()
        if name in recipe.models and name not in there
    ]


def _settle(recipe: Recipe, output_dtype: str | None, problems: list[OrthoMergeError]) -> _Settled:
    """The recipe with every option filled in; what is wrong with them goes to `problems`."""
    dtype = output_dtype or recipe.output_dtype
    if dtype not in OUTPUT_DTYPES:
        fix = did_you_mean(dtype, OUTPUT_DTYPES)
        problems.append(RecipeError(f'unknown output_dtype "{dtype}"', fix=fix))
    try:
        method = get_method(recipe.method)
        options = method.check_options(recipe.options)
    except RecipeError as unknown:
        problems.append(unknown)
        return _Settled(recipe, None, {})
    count = len(recipe.active_rows)
    if method.max_rows is not None and count > method.max_rows:
        error = RecipeError(
            f"method {method.name} has too many active rows",
            expected=f"at most {method.max_rows}",
            received=count,
            fix="Switch the others off, or choose another method.",
        )
        problems.append(error)
    return _Settled(replace(recipe, options=options, output_dtype=dtype), method, options)


def _no_checkpoint(recipe: Recipe) -> OrthoMergeError:
    why = "the base holds no text encoder and no VAE"
    if not recipe.merges_parts:
        why = "the recipe merges the diffusion model alone"
    return CompatibilityError(
        f"no checkpoint can be written: {why}",
        fix="Choose the layout diffusion, or a full checkpoint as the base and components base.",
    )


def _lay_out(
    settled: _Settled,
    aligned: AlignedSet,
    used: tuple[str, ...],
    to: Destination,
    spec: SetSpec,
) -> Plan:
    problems: list[OrthoMergeError] = []
    _check_fit(aligned, used)
    recipe = _expanded(settled.recipe, aligned)
    index = {name: i for i, name in enumerate(used)} | {BASE: -1}
    pairs = [(key, aligned.architecture.block(key)) for key in aligned.keys]
    rows = tuple(
        PlanRow(row, label, index[row.model], index[row.delta_from], _layers(row, pairs, problems))
        for row, label in zip(recipe.active_rows, recipe.labels(), strict=True)
        if recipe.strength
    )
    boost, strength = recipe.texture_boost, recipe.strength
    texture = None
    if boost.active and strength:
        texture = (boost.alpha * strength, index[str(boost.model)], index[recipe.texture_parent()])
    assert settled.method is not None  # a missing method was a problem above  # noqa: S101
    models = tuple(aligned.model(name) for name in used)
    markers = settle_markers(recipe.prediction, aligned, models, problems)
    added = {aligned.marker_name(marker): tensor for marker, tensor in markers.added.items()}
    if problems:
        raise PlanError(problems)
    names = aligned.stored_names if len(aligned.components) > 1 else {}
    plan = Plan(
        recipe=recipe,
        aligned=aligned,
        method=settled.method,
        options=settled.options,
        models=models,
        rows=rows,
        texture=texture,
        tensors=_tensors(aligned, models, rows, recipe, names, changes=bool(rows or texture)),
        target=to.target,
        overwrite=to.overwrite,
        names=names,
        vae=vae_model(recipe, spec, aligned),
        markers=replace(markers, added=added),
        paths={m.name: m.path for m in (spec.base, *spec.models) if m.path is not None}
        | ({f"VAE {recipe.vae.source}": spec.vae.path} if spec.vae and spec.vae.path else {}),
    )
    if ggml_encoder(recipe.output_dtype) is not None:
        packed = {tensor.name for tensor in plan.tensors if tensor.stored.scheme}
        unfit = layout_problems(aligned.architecture.name, plan.layout(), packed)
        if unfit:
            raise PlanError(unfit)
    room = room_problems(to.target, plan.output_bytes) if to.target is not None else []
    if room:
        raise PlanError(room)
    notes = plan_notes(plan)
    messages = tuple(note.to_json() for note in notes if isinstance(note, Message))
    return replace(plan, notes=tuple(str(note) for note in notes), messages=messages)


def _check_fit(aligned: AlignedSet, used: tuple[str, ...]) -> None:
    """Raise where a model that the recipe uses does not fit the base."""
    problems: list[OrthoMergeError] = [
        CompatibilityError(
            f'model "{report.name}" does not fit the base: {report.verdict}',
            fix="Take it out of the rows, or choose the base that it was made from.",
        )
        for report in aligned.skipped
        if report.name in used
    ]
    if problems:
        raise PlanError(problems)


def _expanded(recipe: Recipe, aligned: AlignedSet) -> Recipe:
    """The recipe with pasted numbers and names of presets as the pairs that they mean here.

    A file then says what was merged, whatever a later version calls that preset.
    """
    last = last_output_block(aligned.architecture.block(key) for key in aligned.keys)
    rows = tuple(replace(row, layers=expanded(row.layers, last)) for row in recipe.rows)
    return replace(recipe, rows=rows)


def _tensors(
    aligned: AlignedSet,
    models: Sequence[AlignedModel],
    rows: Sequence[PlanRow],
    recipe: Recipe,
    names: Mapping[str, str],
    *,
    changes: bool,
) -> tuple[TensorPlan, ...]:
    architecture, out = aligned.architecture, []
    for key in aligned.keys:
        block, shape, component = architecture.block(key), aligned.shapes[key], component_of(key)
        copied = component == VAE and recipe.vae.source != MERGE
        alphas = tuple(r.row.alpha_in(component) * r.layers.weight(key, block) for r in rows)
        if copied:
            alphas = (0.0,) * len(rows)
        entry, output = aligned.base.entry(key), recipe.output_dtype
        stored = stored_as(key, shape, entry, output, architecture, changes=changes)
        there = [m for m in (aligned.base, *(() if copied else models)) if m.has(key)]
        out.append(
            TensorPlan(
                key,
                block,
                shape,
                aligned.numel(key),
                alphas,
                stored,
                sum(model.entry(key).n_bytes for model in there),
                names.get(key, key),
                copied,
            )
        )
    return tuple(out)


def _layers(
    row: Row, pairs: Sequence[tuple[str, str]], problems: list[OrthoMergeError]
) -> LayerWeights:
    """A row's layer weights on this model; patterns that match nothing go to `problems`."""
    layers = parse_layers(row.layers, [block for _, block in pairs])
    for error in layers.problems(pairs):
        problems.append(RecipeError(f'row of "{row.model}", {error.args[0]}'))
    return layers
