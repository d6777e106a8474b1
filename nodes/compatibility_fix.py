"""CompatibilityFix: a diagnosis of every file, and repairs that happen while reading."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..orthomerge_core.keys.aligned import AlignedSet
from ..orthomerge_core.keys.copies import write_copies as write_fixed
from ..orthomerge_core.keys.opening import open_set
from ..orthomerge_core.keys.report import compat_text, reports
from ..orthomerge_core.keys.setspec import Repairs, SetSpec
from . import host
from .widgets import schema, ui_payload
from .wire import Models

__all__ = ["CompatibilityFix"]

_FOLDER = "diffusion_models/fixed"
_REPAIRS = {
    "strip_text_encoder": "Merge the diffusion models of full checkpoints alone; text encoders and "
    "VAE are left out.",
    "strip_vae": "The same as strip_text_encoder: diffusion models alone.",
    "fix_prefixes": "Read model.diffusion_model. and its kin as the base names its keys.",
    "dequantise": "Read quantized layers as exact float32; off refuses quantized models.",
    "fix_norm_names": "Read .norm.weight as .norm.scale and back, as the base names them.",
    "remap_diffusers": "Read diffusers names as the original ones where the mapping is known.",
    "skip_misfits": "Leave models below 50 % key overlap, and those that cannot be read, out; "
    "off stops with an error.",
}


class CompatibilityFix(io.ComfyNode):
    """Says per model what was found and what is repaired. No file is ever changed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A set, and one toggle per repair."""
        toggles = [
            io.Boolean.Input(name, default=getattr(Repairs, name), optional=True, tooltip=tooltip)
            for name, tooltip in _REPAIRS.items()
        ]
        copies = io.Boolean.Input(
            "write_copies",
            default=False,
            optional=True,
            tooltip="Also write each repaired model as a new file below output/diffusion_models. "
            "Off is usual: the repairs need no copy.",
        )
        return schema(
            "CompatibilityFix",
            display_name="Compatibility Fix",
            searchable_name="Compatibility Fix (merge check)",
            description="Compares every model's keys with the base's and repairs names, prefixes "
            "and quantization while reading. Your files are never changed.",
            search_aliases=[
                "merge check",
                "model check",
                "key mismatch",
                "prefix",
                "dequantize",
                "fp8",
                "gguf",
                "diffusers keys",
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[Models.Input("models", tooltip="The set to look at."), *toggles, copies],
            outputs=[
                Models.Output(display_name="models", tooltip="The set, with the repairs applied."),
                io.String.Output(display_name="report", tooltip="What was found, in words."),
            ],
        )

    @classmethod
    @host.guarded
    def execute(cls, models: SetSpec, write_copies: bool = False, **toggles: bool) -> io.NodeOutput:
        """Open every header, report, and pass the usable models on."""
        spec = replace(models, repairs=Repairs(**toggles))
        progress = host.HostProgress(cls.hidden.unique_id)
        with open_set(spec, allow_empty=True, progress=progress) as aligned:
            found = [report.to_json() for report in reports(aligned)]
            written = _copies(aligned, progress) if write_copies else []
            text = "\n\n".join([compat_text(aligned), *written])
            usable = {m.name for m in aligned.models}
        progress.finish()
        # Where nothing fits, the next node says why; an empty set could not.
        fitting = tuple(m for m in spec.models if m.name in usable)
        fixed = replace(spec, models=fitting or spec.models)
        payload = {"kind": "compat", "models": found, "text": text}
        return io.NodeOutput(fixed, text, ui=ui_payload(payload))


def _copies(aligned: AlignedSet, progress: host.HostProgress) -> list[str]:
    """Write what was repaired; one line per file, named relative to the output folder."""
    names = [m.name for m in aligned.models if m.report.repairs]
    if not names:
        return ["No model needed a repair, so no copy was written."]
    folder = host.output_folder(_FOLDER)
    paths = write_fixed(aligned, folder, names, progress=progress)
    return [f"Wrote {_FOLDER}/{path.name}" for path in paths]
