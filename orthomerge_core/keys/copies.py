"""Fixed copies: writes a model as the set reads it into a new, complete file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..errors import CompatibilityError, did_you_mean
from ..io.dtypes import torch_dtype
from ..io.writer import SafetensorsWriter
from ..progress import Progress
from .aligned import AlignedModel, AlignedSet
from .lora.source import LoraSource
from .markers import is_marker

__all__ = ["write_copies"]

_CHUNK_ELEMENTS = 1 << 22
_DEQUANTISED = "BF16"
_UNFIT = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')
_STALE = ("_quantization_metadata", "orthomerge.")  # no longer true of the copy


def write_copies(
    aligned: AlignedSet,
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Write `<name>_fixed.safetensors` into `folder` for each named model (default: all).

    A copy of a set of diffusion models has canonical names and no prefix; one of a set of
    checkpoints has the base's components and names. Every copy has the model's own markers of the
    prediction. Stored dtypes stay; dequantized layers become bf16. What a model lacks, or has in
    another shape, comes from the base, so that the copy is complete; what the base does not have is
    left out. Each file appears whole or not at all.

    Raises:
        CompatibilityError: a name that is not in the set. WriteError: see `SafetensorsWriter`.
    """
    progress = progress or Progress()
    models = [_model(aligned, name) for name in names or [m.name for m in aligned.models]]
    paths = tuple(folder / f"{_file_stem(m.name)}_fixed.safetensors" for m in models)
    _refuse_clashes(paths)
    for model, path in zip(models, paths, strict=True):
        _write(aligned, model, path, overwrite, progress)
    return paths


def _model(aligned: AlignedSet, name: str) -> AlignedModel:
    known = [m.name for m in aligned.models]
    if name not in known:
        raise CompatibilityError(f'no model "{name}" in the set', fix=did_you_mean(name, known))
    return aligned.model(name)


def _file_stem(name: str) -> str:
    return _UNFIT.sub("_", name).strip(". ") or "model"


def _refuse_clashes(paths: Sequence[Path]) -> None:
    lower = [p.name.lower() for p in paths]
    for name in lower:
        if lower.count(name) > 1:
            raise CompatibilityError(
                f'two copies would be called "{name}"', fix="Rename one of the models in the set."
            )


def _write(
    aligned: AlignedSet, model: AlignedModel, path: Path, overwrite: bool, progress: Progress
) -> None:
    names = aligned.stored_names if len(aligned.components) > 1 else {}
    held = {key: model if model.has(key) else aligned.base for key in aligned.keys}
    raw = {key: _carrier(aligned, model, key) for key in _carried(aligned, model)}
    raw |= {key: (model, name) for key, name in model.markers.items()}
    layout = {names.get(k, k): (_dtype(held[k], k), aligned.shapes[k]) for k in held}
    for key, (holder, name) in raw.items():
        entry = holder.source.entries[name]
        layout[names.get(key, key)] = (entry.dtype, aligned.shapes.get(key, entry.shape))
    progress.start(sum(aligned.numel(key) for key in held), f"Writing {path.name}")
    with SafetensorsWriter(path, layout, _metadata(model), overwrite=overwrite) as writer:
        for key, holder in held.items():
            _copy(
                writer, holder, key, (names.get(key, key), *layout[names.get(key, key)]), progress
            )
        for key, (holder, name) in raw.items():
            stored = names.get(key, key)
            writer.write(stored, holder.source.read_raw(name).reshape(layout[stored][1]))
        model.source.check_unchanged()
        aligned.base.source.check_unchanged()
        writer.finish()


def _copy(
    writer: SafetensorsWriter,
    holder: AlignedModel,
    key: str,
    target: tuple[str, str, tuple[int, ...]],
    progress: Progress,
) -> None:
    """Stream one tensor; the way through float32 is exact for every dtype but F64.

    target: its name, dtype and shape in the copy.
    """
    stored, name, shape = target
    total = torch.Size(shape).numel()
    if name == "F64":
        writer.write(stored, holder.read_raw(key, shape))
        progress.advance(total)
        return
    dtype = torch_dtype(name)
    for start in range(0, total, _CHUNK_ELEMENTS):
        flat = torch.empty(min(_CHUNK_ELEMENTS, total - start))
        holder.read_into(key, flat, start)
        writer.write_flat(stored, flat.to(dtype), start)
        progress.advance(len(flat))


def _dtype(holder: AlignedModel, key: str) -> str:
    entries = [holder.source.entries[s.key] for s in holder.segments[key]]
    if any(e.quant is not None for e in entries) or len({e.dtype for e in entries}) > 1:
        return _DEQUANTISED
    return entries[0].dtype


def _carried(aligned: AlignedSet, model: AlignedModel) -> list[str]:
    """The base's bookkeeping, without its markers where the model has its own, or none."""
    silent = model.source.is_live or isinstance(model.source, LoraSource)
    return [key for key in aligned.passthrough if silent or not is_marker(key)]


def _carrier(aligned: AlignedSet, model: AlignedModel, key: str) -> tuple[AlignedModel, str]:
    """Who gives a bookkeeping tensor: the model if it has one of that kind, else the base."""
    own = aligned.base.segments[key][0].key
    wanted = aligned.base.source.entries[own]
    for name in (key, own):
        entry = model.source.entries.get(name)
        if entry and (entry.shape, entry.dtype) == (wanted.shape, wanted.dtype):
            return model, name
    return aligned.base, own


def _metadata(model: AlignedModel) -> Mapping[str, str]:
    kept = {k: v for k, v in model.source.metadata.items() if not k.startswith(_STALE)}
    words = {"file": model.report.file, "repairs": list(model.report.repairs)}
    return kept | {"format": "pt", "orthomerge.fixed_from": json.dumps(words, sort_keys=True)}
