"""CompatibilityFix: a diagnosis of every file, and repairs that happen while reading."""

from __future__ import annotations

from dataclasses import fields, replace

from comfy_api.latest import io

from ..orthomerge_core.keys.opening import open_set
from ..orthomerge_core.keys.report import compat_text, reports
from ..orthomerge_core.keys.setspec import Repairs, SetSpec
from . import host
from .widgets import schema
from .wire import Models

__all__ = ["CompatibilityFix"]

_REPAIRS = {
    "strip_text_encoder": "Leave the text encoders of full checkpoints out.",
    "strip_vae": "Leave the VAE of full checkpoints out.",
    "fix_prefixes": "Read model.diffusion_model. and its kin as the base names its keys.",
    "dequantise": "Read quantised layers as exact float32; off refuses quantised models.",
    "fix_norm_names": "Read .norm.weight as .norm.scale and back, as the base names them.",
    "remap_diffusers": "Read diffusers names as the original ones where the mapping is known.",
    "skip_misfits": "Leave models below 50 % key overlap out; off stops with an error.",
}


class CompatibilityFix(io.ComfyNode):
    """Says per model what was found and what is repaired. No file is ever changed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A set, and one toggle per repair."""
        toggles = [
            io.Boolean.Input(
                field.name,
                default=True,
                optional=True,
                tooltip=_REPAIRS[field.name],
            )
            for field in fields(Repairs)
        ]
        return schema(
            "CompatibilityFix",
            display_name="Compatibility Fix",
            description="Compares every model's keys with the base's and repairs names, prefixes "
            "and quantisation while reading. Your files are never changed.",
            search_aliases=["model check", "key mismatch", "dequantize"],
            is_output_node=True,
            inputs=[Models.Input("models", tooltip="The set to look at."), *toggles],
            outputs=[
                Models.Output(display_name="models", tooltip="The set, with the repairs applied."),
                io.String.Output(display_name="report", tooltip="What was found, in words."),
            ],
        )

    @classmethod
    @host.guarded
    def execute(cls, models: SetSpec, **toggles: bool) -> io.NodeOutput:
        """Open every header, report, and pass the usable models on."""
        spec = replace(models, repairs=Repairs(**toggles))
        with open_set(spec) as aligned:
            text = compat_text(aligned)
            found = [report.to_json() for report in reports(aligned)]
            usable = {m.name for m in aligned.models}
        fixed = replace(spec, models=tuple(m for m in spec.models if m.name in usable))
        payload = {"kind": "compat", "models": found, "text": text}
        return io.NodeOutput(fixed, text, ui={"orthomerge": [payload]})
