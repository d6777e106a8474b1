"""OrthoPickModel: one model of the set as a MODEL, to look at beside the merge."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..orthomerge_core.errors import CompatibilityError, RecipeError, did_you_mean
from ..orthomerge_core.keys.aligned import AlignedModel, AlignedSet
from ..orthomerge_core.keys.markers import is_marker
from ..orthomerge_core.keys.opening import open_set
from ..orthomerge_core.keys.setspec import SetSpec
from ..orthomerge_core.recipe.model import BASE
from . import host
from .components import PARTS, load_parts, part_outputs, why_absent, wired_parts
from .live import LiveSource
from .widgets import schema
from .wire import Models

__all__ = ["OrthoPickModel"]

_CLIP_SLOT = 1
"""Number of the output CLIP; VAE follows it."""
_LIVE = "A connected MODEL comes without this. Take it from where the MODEL comes from."
_CHUNK = 1 << 22  # elements between two looks at the stop button
_DTYPES = {"F64": torch.float32, "F32": torch.float32, "F16": torch.float16}


class OrthoPickModel(io.ComfyNode):
    """The model as the merge sees it: repaired, dequantized, missing keys from the base.

    Its own markers decide how it predicts, not the base's.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A set and a name in it."""
        return schema(
            "OrthoPickModel",
            display_name="Ortho Pick Model",
            searchable_name="Ortho Pick Model (merge preview)",
            description="Gives one model of the set as a MODEL, and of a full checkpoint also CLIP "
            "and VAE, to compare it with the merge.",
            search_aliases=["preview model", "compare with merge", "load model from set"],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                Models.Input("models", tooltip="The set to pick from."),
                io.String.Input(
                    "name",
                    default=BASE,
                    optional=True,
                    tooltip="A model's name as the table shows it; base is the base.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="That model alone."),
                *part_outputs("of that model"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        """Run again when CLIP or VAE becomes connected: only what is connected is made."""
        return host.wired_anywhere("OrthoPickModel", _CLIP_SLOT)

    @classmethod
    @host.guarded
    def execute(cls, models: SetSpec, name: str = BASE) -> io.NodeOutput:
        """Read that one model; a connected MODEL is passed through."""
        name = name.strip()
        if name not in (BASE, *models.names()):
            raise RecipeError(
                f'no model "{name}" in the set', fix=did_you_mean(name, (BASE, *models.names()))
            )
        spec = next((m for m in models.models if m.name == name), models.base)
        parts = wired_parts(cls.hidden, _CLIP_SLOT)
        if isinstance(spec.source, LiveSource):
            there = {"clip": spec.source.clip}
            rest = [
                there.get(part) or host.blocked(_LIVE if part in parts else None) for part in PARTS
            ]
            return io.NodeOutput(spec.source.model, *rest)
        components = models.components if parts else "diffusion"
        alone = replace(
            models, models=() if name == BASE else (spec,), components=components, vae=None
        )
        progress = host.HostProgress(cls.hidden.unique_id)
        with open_set(alone) as aligned:
            takes_all = not alone.diffusion_only
            reasons = {p: why_absent(p, aligned.components, takes_all=takes_all) for p in parts}
            weights = _weights(aligned, name, progress)
            metadata, whole = aligned.base.source.metadata, len(aligned.components) > 1
        progress.finish()
        made = load_parts(weights, metadata, reasons, whole=whole)
        rest = [getattr(made, part) or host.blocked(made.absent.get(part)) for part in PARTS]
        return io.NodeOutput(made.model, *rest)


def _weights(
    aligned: AlignedSet, name: str, progress: host.HostProgress
) -> dict[str, torch.Tensor]:
    """The state dict of one model: all components of a checkpoint under the base's names."""
    if name not in (BASE, *(m.name for m in aligned.models)):
        report = aligned.skipped[0]
        raise CompatibilityError(
            f'"{name}" does not fit the base: {report.verdict}', fix="Pick another model."
        )
    model = aligned.model(name)
    names = aligned.stored_names if len(aligned.components) > 1 else {}
    progress.start(sum(aligned.numel(key) for key in aligned.keys), f"Reading {name}")
    weights = {
        names.get(key, key): _read(
            model if model.has(key) else aligned.base, key, aligned, progress
        )
        for key in aligned.keys
    }
    passthrough = (key for key in aligned.passthrough if not is_marker(key))
    weights |= {names.get(key, key): aligned.read_base_raw(key) for key in passthrough}
    marks = model.markers.items()
    return weights | {aligned.marker_name(m): model.source.read_raw(key) for m, key in marks}


def _read(
    model: AlignedModel, key: str, aligned: AlignedSet, progress: host.HostProgress
) -> torch.Tensor:
    """One tensor in the base's dtype; quantized ones in bfloat16."""
    entry = aligned.base.entry(key)
    dtype = torch.bfloat16 if entry.quant else _DTYPES.get(entry.dtype, torch.bfloat16)
    size = aligned.numel(key)
    flat = torch.empty(size, dtype=dtype)
    for start in range(0, size, _CHUNK):
        part = torch.empty(min(_CHUNK, size - start))
        model.read_into(key, part, start)
        flat[start : start + len(part)] = part.to(dtype)
        progress.advance(len(part))
    return flat.view(aligned.shapes[key])
