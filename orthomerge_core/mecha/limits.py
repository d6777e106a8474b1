"""What sd-mecha cannot express of a merge, reported before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import OrthoMergeError, PlanError, UnsupportedError, did_you_mean
from ..io.dtypes import torch_dtype
from ..keys.aligned import AlignedModel, AlignedSet
from ..keys.lora.source import LoraSource
from ..keys.opening import open_set
from ..keys.setspec import ModelSpec, SetSpec
from ..recipe.model import BASE, OUTPUT_DTYPES, Recipe
from .method import used_models

__all__ = ["plain_reasons", "require_plain_files", "require_sayable", "require_storable"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_HERE = "Merge with OrthoMerge Studio itself."


def require_storable(output_dtype: str) -> None:
    """Raise `UnsupportedError` for an output dtype of ours that sd-mecha cannot write."""
    if output_dtype not in OUTPUT_DTYPES:
        raise UnsupportedError(
            f'unknown output_dtype "{output_dtype}"', fix=did_you_mean(output_dtype, OUTPUT_DTYPES)
        )
    if output_dtype not in ("base", *_DTYPES):
        raise UnsupportedError(
            f"sd-mecha writes no scales, so it cannot store {output_dtype}",
            expected="one of base, " + ", ".join(_DTYPES),
            fix="Choose one of those for the export, or merge with OrthoMerge Studio itself.",
        )


def require_sayable(recipe: Recipe) -> None:
    """Raise `UnsupportedError` for what a recipe says of files that sd-mecha has no words for."""
    if recipe.vae_file is not None:
        raise UnsupportedError(
            f'the VAE comes from a file of its own, "{recipe.vae_file}", which sd-mecha cannot say',
            fix="Set vae to base, merge or a model of the set.",
        )
    if recipe.prediction not in (None, BASE):
        raise UnsupportedError(
            f'sd-mecha cannot change the prediction to "{recipe.prediction}"',
            fix="Set prediction to base, or merge with OrthoMerge Studio itself.",
        )


def require_plain_files(recipe: Recipe, folder: Path, output_dtype: str = "") -> torch.dtype:
    """The dtype in which sd-mecha shall store the result, once the files are seen to be plain.

    Plain: every tensor lies in its file under the name and in the form that the merge means. Reads
    headers only.

    Args:
        output_dtype: overrides the recipe's.

    Raises:
        PlanError: all reasons why sd-mecha would give other tensors than we do.
        FileError: a file cannot be opened.
    """
    dtype = output_dtype or recipe.output_dtype
    require_storable(dtype)
    files = {name: recipe.models[name].file for name in used_models(recipe) if name != BASE}
    models = tuple(ModelSpec(name, file, folder / file) for name, file in files.items())
    base = ModelSpec(BASE, recipe.base, folder / recipe.base)
    spec = SetSpec(base, models, recipe.architecture, components=recipe.components)
    with open_set(spec, allow_empty=True, find_duplicates=False) as aligned:
        reasons: list[OrthoMergeError] = [
            UnsupportedError(f'"{report.file}" does not fit the base: {report.verdict}')
            for report in aligned.skipped
        ]
        reasons += plain_reasons(aligned, aligned.models)
        found = _DTYPES.get(dtype)
        if found is None:
            found = _of_base(aligned, reasons)
        if reasons:
            raise PlanError(reasons)
        return found


def plain_reasons(aligned: AlignedSet, models: Sequence[AlignedModel]) -> list[OrthoMergeError]:
    """Why sd-mecha would give other tensors than we do, from these files; empty where it gives
    the same."""
    return [reason for model in (aligned.base, *models) for reason in _reasons(model, aligned)]


def _reasons(model: AlignedModel, aligned: AlignedSet) -> list[OrthoMergeError]:
    """Why this file is not plain."""
    file, entries = model.source.name, model.source.entries
    whole = len(aligned.components) > 1
    names = aligned.stored_names if whole else {}
    if isinstance(model.source, LoraSource) or model.source.is_live:
        what = f'"{file}" is not a file of weights'
        return [UnsupportedError(what, received="a LoRA or a live model", fix=_HERE)]
    used = {seg.key for run in model.segments.values() for seg in run}
    stored = {key: names.get(key, key) for key in model.segments}
    moved = [
        key
        for key, run in model.segments.items()
        if len(run) != 1 or run[0].key != stored[key] or run[0].stop != entries[run[0].key].numel
    ]
    odd = [k for k in used if entries[k].quant is not None]
    left = [k for k in entries if k not in used] if model is aligned.base else []
    passthrough = aligned.passthrough if model is aligned.base and not whole else ()
    told = (
        (odd, "is quantized, and sd-mecha reads no scales"),
        (moved, "names its tensors in another way than the base's canonical keys"),
        (left, "holds more than the diffusion model, and sd-mecha would merge that as well"),
        (passthrough, "holds tensors that are not weights, and sd-mecha would cast them"),
    )
    return [
        UnsupportedError(f'"{file}" {words}', received=f"{len(keys)} such tensors", fix=_HERE)
        for keys, words in told
        if keys
    ]


def _of_base(aligned: AlignedSet, reasons: list[OrthoMergeError]) -> torch.dtype:
    """The one dtype of the base's weights, bf16 for fp8 without scales, as a merge of ours has it;
    several are a reason."""
    names = sorted({aligned.base.entry(key).dtype for key in aligned.keys})
    if names and all(name.startswith("F8_") for name in names):
        return torch.bfloat16
    if len(names) == 1:
        return torch_dtype(names[0])
    error = UnsupportedError(
        "sd-mecha stores every tensor in one dtype, and the base has several",
        received=", ".join(names),
        fix="Name the dtype: bf16, fp16 or fp32.",
    )
    reasons.append(error)
    return torch.float32
