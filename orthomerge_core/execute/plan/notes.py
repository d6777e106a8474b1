"""Notes about a plan that do not stop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from ...keys.aligned import AlignedModel
from ...keys.channels import channel_words
from ...messages import Message
from ...recipe.codec import RECIPE_FIELDS, ROW_FIELDS
from ...recipe.model import Recipe
from .cost import memory_notes
from .model import Plan
from .storage import is_plain_fp8

__all__ = ["plan_notes"]


def plan_notes(plan: Plan) -> list[Message | str]:
    """Messages, or plain sentences, on rows without effect, unknown fields, parts of the base that
    are not merged, quantized layers, MODELs that are no files, and memory that may run short."""
    notes: list[Message | str] = []
    if not plan.rows and plan.texture is None:
        zero = plan.recipe.strength == 0.0
        notes.append(Message("plan.strength_zero" if zero else "merge.no_row"))
    notes += _layers(plan)
    notes += _unknown_fields(plan.recipe)
    notes += _base(plan)
    notes += _parts(plan)
    live = (model.name for model in plan.models if model.source.is_live)
    notes += [Message("plan.live", {"model": name}) for name in live]
    notes += _channels(plan)
    return [*notes, *memory_notes(plan.estimate, in_memory=plan.target is None)]


def _layers(plan: Plan) -> list[str]:
    """Rows that no tensor is left to."""
    notes, pairs = [], [(t.key, t.block) for t in plan.tensors]
    for row in plan.rows:
        if not any(row.layers.weight(key, block) for key, block in pairs):
            notes.append(f"{row.label}: its layers leave it no tensor; it changes nothing.")
    return notes


def _base(plan: Plan) -> list[Message | str]:
    """What the result does not hold of the base, or not in the base's format."""
    notes: list[Message | str] = []
    beside = _beside(plan.aligned.base)
    if beside and not plan.is_checkpoint:
        held = "1 tensor" if beside == 1 else f"{beside} tensors"
        notes.append(
            f"The base holds {held} beside the diffusion model (text encoders, VAE and the like): "
            "the result is the diffusion model alone."
        )
    entries = [plan.aligned.base.entry(t.key) for t in plan.tensors]
    quantised = sum(entry.quant is not None for entry in entries)
    if quantised and plan.recipe.output_dtype == "base":
        notes.append(Message("plan.quantized_base", {"count": quantised}))
    plain = sum(
        is_plain_fp8(entry) and tensor.stored.dtype == "BF16"
        for entry, tensor in zip(entries, plan.tensors, strict=True)
    )
    if plain and plan.recipe.output_dtype == "base":
        notes.append(Message("plan.plain_fp8_base", {"count": plain}))
    encoder = next((t.stored.encoder for t in plan.tensors if t.stored.scheme), None)
    if encoder is not None:
        values = {"dtype": encoder.output, "size": encoder.rounding}
        notes.append(Message("plan.quantized_rounding", values))
    return notes


def _parts(plan: Plan) -> list[str]:
    """Models that lack a component of the base, or hold another one."""
    known = set(plan.aligned.components)
    return [
        f"{model.name}: {part.label}, {part.words}."
        for model in plan.models
        for part in model.report.parts
        if part.name in known and not part.matched
    ]


def _channels(plan: Plan) -> list[str]:
    """Models with another number of input channels than the base."""
    key = plan.aligned.architecture.input_key
    found = []
    for model in plan.models:
        if key in plan.aligned.shapes and model.has(key) and model.channels:
            own = plan.aligned.shapes[key][1]
            words = channel_words(own, model.channels)
            found.append(f"{model.name} has {model.channels} input channels: {words}.")
    return found


def _beside(base: AlignedModel) -> int:
    """Tensors of the base's file that belong to no canonical key."""
    used = {segment.key for run in base.segments.values() for segment in run}
    return len(base.source.entries.keys() - used)


def _unknown_fields(recipe: Recipe) -> list[str]:
    """A sentence on every field that nothing reads: a slip of a hand, or a newer version's."""
    places: list[tuple[str, Mapping[str, object], Sequence[str]]]
    places = [("The recipe", recipe.extra, RECIPE_FIELDS)]
    places += [(f"Row {i}", row.extra, ROW_FIELDS) for i, row in enumerate(recipe.rows, 1)]
    notes = []
    for place, fields, known in places:
        for name in fields:
            near = get_close_matches(name, known, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            notes.append(f'{place} has a field "{name[:80]}" that nothing reads.{hint}')
    return notes
