"""Everything that can be wrong with a merge, found before the first tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import (
    CompatibilityError,
    OrthoMergeError,
    PlanError,
    RecipeError,
    did_you_mean,
)
from ..io.closing import Closing
from ..keys.aligned import AlignedModel, AlignedSet
from ..keys.opening import open_set
from ..keys.setspec import SetSpec
from ..methods.contract import Method
from ..methods.registry import get_method
from ..recipe.check import problems as recipe_problems
from ..recipe.codec import RECIPE_FIELDS, ROW_FIELDS
from ..recipe.layers import LayerWeights, parse_layers
from ..recipe.model import BASE, OUTPUT_DTYPES, Recipe, Row
from .estimate import Estimate, estimate
from .outputs import Stored, scale_key, stored_as
from .target import room_problems, target_problems

__all__ = ["Plan", "PlanRow", "TensorPlan", "plan_merge", "problems_without_files"]


@dataclass(frozen=True)
class PlanRow:
    """An active row; `model` and `parent` are places in `Plan.models`, −1 is the base."""

    row: Row
    label: str
    model: int
    parent: int
    layers: LayerWeights


@dataclass(frozen=True)
class TensorPlan:
    """One canonical tensor; `alphas` [rows] are α_i · layer weight, 0 where a row does not act."""

    key: str
    block: str
    shape: tuple[int, ...]
    numel: int
    alphas: tuple[float, ...]
    stored: Stored


@dataclass(frozen=True)
class Plan(Closing):
    """A checked merge with its sources open; a context manager that closes them.

    `recipe` has every option filled in and the output dtype settled. `models` are those that the
    merge reads. `rows` are the active ones. `texture` is (alpha, model, parent) with indices as in
    `PlanRow`, or None. `notes` are sentences for people that stop nothing.
    """

    recipe: Recipe
    aligned: AlignedSet
    method: Method
    options: Mapping[str, Any]
    models: tuple[AlignedModel, ...]
    rows: tuple[PlanRow, ...]
    texture: tuple[float, int, int] | None
    tensors: tuple[TensorPlan, ...]
    estimate: Estimate
    target: Path | None = None
    notes: tuple[str, ...] = field(default=())

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """key → (dtype, shape) of the result, scales of fp8 layers included."""
        out: dict[str, tuple[str, tuple[int, ...]]] = {}
        for tensor in self.tensors:
            out[tensor.key] = (tensor.stored.dtype, tensor.shape)
            if tensor.stored.scaled:
                out[scale_key(tensor.key)] = ("F32", ())
        for key in self.aligned.carried:
            out[key] = (self.aligned.base.entry(key).dtype, self.aligned.shapes[key])
        return out

    def to_json(self) -> dict[str, Any]:
        """What a dry run shows."""
        return {
            "method": self.recipe.method,
            "options": dict(self.options),
            "output_dtype": self.recipe.output_dtype,
            "architecture": self.aligned.architecture.name,
            "rows": [row.label for row in self.rows],
            "tensors": len(self.tensors),
            "estimate": self.estimate.to_json(),
            "notes": list(self.notes),
        }

    def close(self) -> None:
        """Close every source."""
        self.aligned.close()


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
        target: the file to be written, if there will be one.

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
        return _lay_out(settled, aligned, used, target)
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
    settled: _Settled, aligned: AlignedSet, used: tuple[str, ...], target: Path | None
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
    )
    boost = recipe.texture_boost
    texture = None
    if boost.active:
        texture = (boost.alpha, index[str(boost.model)], index[recipe.texture_parent()])
    tensors = _tensors(aligned, rows, recipe.output_dtype)
    assert settled.method is not None  # a missing method was a problem above  # noqa: S101
    plan = Plan(
        recipe=recipe,
        aligned=aligned,
        method=settled.method,
        options=settled.options,
        models=tuple(aligned.model(name) for name in used),
        rows=rows,
        texture=texture,
        tensors=tensors,
        estimate=Estimate(),
        target=target,
    )
    costs = estimate(plan)
    room = room_problems(target, costs.output_bytes) if target is not None else []
    if room:
        raise PlanError(room)
    notes = _notes(plan)
    return replace(plan, estimate=costs, notes=(*notes, *costs.notes))


def _tensors(aligned: AlignedSet, rows: tuple[PlanRow, ...], output: str) -> tuple[TensorPlan, ...]:
    architecture = aligned.architecture
    out = []
    for key in aligned.keys:
        block, shape = architecture.block(key), aligned.shapes[key]
        alphas = tuple(r.row.alpha * r.layers.weight(key, block) for r in rows)
        stored = stored_as(key, shape, aligned.base.entry(key), output, architecture)
        out.append(TensorPlan(key, block, shape, aligned.numel(key), alphas, stored))
    return tuple(out)


def _notes(plan: Plan) -> list[str]:
    notes = []
    if not plan.rows and plan.texture is None:
        notes.append("No row is active: the result is the base.")
    pairs = [(t.key, t.block) for t in plan.tensors]
    for row in plan.rows:
        for pattern in row.layers.unused(pairs):
            notes.append(f'{row.label}: layer pattern "{pattern}" matches no tensor.')
    for row in plan.rows:
        if not any(row.layers.weight(key, block) for key, block in pairs):
            notes.append(f"{row.label}: its layers leave it no tensor; it changes nothing.")
    notes += _unknown_fields(plan.recipe)
    beside = _beside(plan.aligned.base)
    if beside:
        held = "1 tensor" if beside == 1 else f"{beside} tensors"
        notes.append(
            f"The base holds {held} beside the diffusion model (text encoders, VAE and the like): "
            "the result is the diffusion model alone."
        )
    entries = [plan.aligned.base.entry(t.key) for t in plan.tensors]
    quantised = sum(entry.quant is not None for entry in entries)
    if quantised and plan.recipe.output_dtype == "base":
        notes.append(f"Quantised layers of the base ({quantised}) are written as bf16.")
    return notes


def _beside(base: AlignedModel) -> int:
    """Tensors of the base's file that belong to no canonical key."""
    used = {segment.key for run in base.segments.values() for segment in run}
    return len(base.source.entries.keys() - used)


def _unknown_fields(recipe: Recipe) -> list[str]:
    """A sentence on every field that nothing reads: a slip of a hand, or a newer version's."""
    places: list[tuple[str, Mapping[str, Any], tuple[str, ...]]]
    places = [("The recipe", recipe.extra, RECIPE_FIELDS)]
    places += [(f"Row {i}", row.extra, ROW_FIELDS) for i, row in enumerate(recipe.rows, 1)]
    notes = []
    for place, fields, known in places:
        for name in fields:
            near = get_close_matches(name, known, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            notes.append(f'{place} has a field "{name[:80]}" that nothing reads.{hint}')
    return notes
