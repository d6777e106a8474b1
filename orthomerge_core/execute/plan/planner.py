"""Everything that can be wrong with a merge, found before the first tensor is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import CompatibilityError, OrthoMergeError, PlanError, RecipeError, did_you_mean
from ...keys.aligned import AlignedModel, AlignedSet
from ...keys.opening import open_set
from ...keys.setspec import SetSpec
from ...methods.contract import Method
from ...methods.registry import get_method
from ...recipe.check import problems as recipe_problems
from ...recipe.layers import parse_layers
from ...recipe.model import BASE, OUTPUT_DTYPES, Recipe
from .destination import room_problems, target_problems
from .model import Plan, PlanRow, TensorPlan
from .notes import plan_notes
from .storage import stored_as

__all__ = ["plan_merge", "problems_without_files"]


def plan_merge(
    recipe: Recipe,
    spec: SetSpec,
    *,
    output_dtype: str | None = None,
    target: Path | None = None,
    overwrite: bool = False,
) -> Plan:
    """Check a recipe against its files; headers are read, tensors are not.

    Args:
        spec: where the recipe's models lie; those it does not use are not opened.
        output_dtype: overrides the recipe's.
        target: the file to be written; None merges in memory.
        overwrite: whether an existing target is replaced.

    Raises:
        PlanError: every problem of the recipe, the files and the target, collected.
        FileError: a file cannot be opened.
    """
    problems = recipe_problems(recipe)
    problems += _missing(recipe, spec)
    settled = _settle(recipe, output_dtype, problems)
    if target is not None:
        problems += target_problems(target, spec, overwrite)
    if problems:
        raise PlanError(problems)
    used = settled.recipe.used_models()
    wanted = replace(spec, models=tuple(m for m in spec.models if m.name in used))
    aligned = open_set(wanted, allow_empty=True, find_duplicates=False)
    try:
        return _lay_out(settled, aligned, used, target, overwrite)
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


def _lay_out(
    settled: _Settled,
    aligned: AlignedSet,
    used: tuple[str, ...],
    target: Path | None,
    overwrite: bool,
) -> Plan:
    misfits: list[OrthoMergeError] = [
        CompatibilityError(
            f'model "{report.name}" does not fit the base: {report.verdict}',
            fix="Take it out of the rows, or choose the base that it was made from.",
        )
        for report in aligned.skipped
        if report.name in used
    ]
    if misfits:
        raise PlanError(misfits)
    recipe = settled.recipe
    index = {name: i for i, name in enumerate(used)} | {BASE: -1}
    rows = tuple(
        PlanRow(row, label, index[row.model], index[row.delta_from], parse_layers(row.layers))
        for row, label in zip(recipe.active_rows, recipe.labels(), strict=True)
        if recipe.strength
    )
    boost, strength = recipe.texture_boost, recipe.strength
    texture = None
    if boost.active and strength:
        texture = (boost.alpha * strength, index[str(boost.model)], index[recipe.texture_parent()])
    assert settled.method is not None  # a missing method was a problem above  # noqa: S101
    models = tuple(aligned.model(name) for name in used)
    plan = Plan(
        recipe=recipe,
        aligned=aligned,
        method=settled.method,
        options=settled.options,
        models=models,
        rows=rows,
        texture=texture,
        tensors=_tensors(aligned, models, rows, recipe.output_dtype, changes=bool(rows or texture)),
        target=target,
        overwrite=overwrite,
    )
    room = room_problems(target, plan.output_bytes) if target is not None else []
    if room:
        raise PlanError(room)
    return replace(plan, notes=tuple(plan_notes(plan)))


def _tensors(
    aligned: AlignedSet,
    models: Sequence[AlignedModel],
    rows: Sequence[PlanRow],
    output: str,
    *,
    changes: bool,
) -> tuple[TensorPlan, ...]:
    architecture, out = aligned.architecture, []
    for key in aligned.keys:
        block, shape = architecture.block(key), aligned.shapes[key]
        alphas = tuple(r.row.alpha * r.layers.weight(key, block) for r in rows)
        entry = aligned.base.entry(key)
        stored = stored_as(key, shape, entry, output, architecture, changes=changes)
        there = [m for m in (aligned.base, *models) if m.has(key)]
        n_read = sum(model.entry(key).n_bytes for model in there)
        out.append(TensorPlan(key, block, shape, aligned.numel(key), alphas, stored, n_read))
    return tuple(out)
