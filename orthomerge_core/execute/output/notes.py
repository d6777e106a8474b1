"""Notes about a finished merge, beside its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...keys.aligned import AlignedModel
from ...keys.content import diffusion_part, model_content_hash
from ...keys.lora.source import LoraSource
from ...messages import Message
from ...recipe.model import BASE
from ..fallback import TEXTURE, Work
from ..plan.model import Plan
from .cast import LIMITS
from .inherited import licenses
from .provenance import vae_name

__all__ = ["merge_notes", "other_weights", "unused_tensors"]


def merge_notes(work: Work, hashes: Mapping[str, str]) -> list[Message]:
    """Tensors that the base's replaced, rows that took no part somewhere, clipped weights, and
    sources that are not those of the recipe.

    Args:
        hashes: content hashes of the base and of every model that was read.
    """
    return [
        *work.notes,
        *_repaired(work),
        *_not_finite(work),
        *_clipped(work),
        *_rounding(work),
        *(Message("merge.averaged", {"count": n, "reason": r}) for r, n in work.plain.items()),
        *_unmatched(work.plan),
        *_licenses(work.plan),
        *other_weights(work.plan, hashes),
    ]


def unused_tensors(work: Work) -> dict[str, dict[str, list[str]]]:
    """All names behind the notes: model or row → reason → tensors in which it took no part.

    Reasons: `absent` and `other_shape` (of a model), `not_finite` (of a row).
    """
    found: dict[str, dict[str, list[str]]] = {}
    for model in work.plan.models:
        for reason, keys in (("absent", _absent(work.plan, model)), ("other_shape", _odd(model))):
            if keys:
                found.setdefault(model.name, {})[reason] = keys
    for row, keys in work.missing.items():
        label = "texture_boost" if row == TEXTURE else work.plan.rows[row].label
        found.setdefault(label, {})["not_finite"] = keys
    return found


def _repaired(work: Work) -> Iterator[Message]:
    if work.repaired:
        yield Message("merge.repaired", {"count": len(work.repaired), "keys": work.repaired})


def _not_finite(work: Work) -> Iterator[Message]:
    for row, keys in sorted(work.missing.items()):
        values = {"count": len(keys), "keys": keys}
        if row == TEXTURE:
            yield Message("merge.texture_not_finite", values)
        else:
            yield Message("merge.not_finite", values | {"row": work.plan.rows[row].label})


def _clipped(work: Work) -> Iterator[Message]:
    for dtype, count in work.clipped.items():
        values = {"count": count, "dtype": dtype}
        if dtype in LIMITS:
            yield Message("merge.clipped", values | {"limit": LIMITS[dtype]})
        else:
            yield Message("merge.saturated", values)


def _rounding(work: Work) -> Iterator[Message]:
    share = work.retention.rounding_frac()
    if share > 0.1:
        yield Message("merge.rounding", {"percent": 100.0 * share})


def _unmatched(plan: Plan) -> Iterator[Message]:
    """Tensors that a model lacks or has in another shape, and what that meant for its rows."""
    averages = plan.method.averages_with(plan.options)
    for model in plan.models:
        for reason, keys in (("absent", _absent(plan, model)), ("other_shape", _odd(model))):
            if not keys:
                continue
            values = {"model": model.name, "count": len(keys), "keys": keys}
            left = _rows_left(plan, keys) if averages else None
            if left is None:
                yield Message(f"merge.{reason}", values)
            else:
                left_over, rows = left
                yield Message(f"merge.{reason}_average", values | {"left": left_over, "rows": rows})


def _absent(plan: Plan, model: AlignedModel) -> list[str]:
    if isinstance(model.source, LoraSource):
        return []  # what it does not change, it does not lack
    odd = set(model.mismatched)
    return [key for key in plan.aligned.keys if not model.has(key) and key not in odd]


def _odd(model: AlignedModel) -> list[str]:
    return list(model.mismatched)


def _rows_left(plan: Plan, keys: list[str]) -> tuple[int, int] | None:
    """(rows that count, rows that act) where that is the same in all these tensors, and some do."""
    wanted, found = set(keys), set()
    for tensor in plan.tensors:
        if tensor.key in wanted:
            acting = tensor.acting_rows
            models = [plan.models[plan.rows[i].model] for i in acting]
            found.add((sum(model.has(tensor.key) for model in models), len(acting)))
    if len(found) != 1:
        return None
    left, rows = found.pop()
    return (left, rows) if 0 < left < rows else None


def _licenses(plan: Plan) -> Iterator[Message]:
    """The licenses that the ingredients state, where they are not one."""
    named = licenses([model.source.metadata for model in plan.sources()])
    if len(named) > 1:
        yield Message("merge.licenses", {"licenses": "; ".join(named)})


def other_weights(plan: Plan, hashes: Mapping[str, str]) -> Iterator[Message]:
    """Sources whose content is not the one that the recipe knows."""
    expected = {BASE: plan.recipe.base_hash} | {
        name: ref.content_hash for name, ref in plan.recipe.models.items()
    }
    vae = vae_name(plan.recipe)
    expected[vae] = plan.recipe.vae.content_hash
    files = {BASE: plan.recipe.base, vae: plan.recipe.vae.source}
    for name, digest in hashes.items():
        if expected.get(name) not in (None, digest, _diffusion_hash(plan, name)):
            file = files[name] if name in files else plan.recipe.models[name].file
            yield Message("merge.other_weights", {"name": name, "file": file})


def _diffusion_hash(plan: Plan, name: str) -> str | None:
    """The content hash of a source's diffusion model alone, by which an analysis knows it."""
    if not plan.is_checkpoint:
        return None
    found = [model for model in plan.sources() if model.name == name]
    return model_content_hash(diffusion_part(plan.aligned, found[0])) if found else None
