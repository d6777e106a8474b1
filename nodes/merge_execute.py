"""OrthoMergeExecute: the merge as a MODEL, ready for KSampler."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..orthomerge_core.execute.provenance import with_hashes
from ..orthomerge_core.recipe.model import OUTPUT_DTYPES
from ..orthomerge_core.report.merge_text import merge_report
from . import host
from .merging import merge_to_model
from .widgets import device_input, schema
from .wire import RecipeSocket, RecipeWire

__all__ = ["OrthoMergeExecute"]


class OrthoMergeExecute(io.ComfyNode):
    """Streams the merge tensor by tensor; what is previewed is what would be saved."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A recipe, the output dtype and the device."""
        return schema(
            "OrthoMergeExecute",
            display_name="Ortho Merge Execute",
            description="Merges as the recipe says and gives a MODEL.",
            search_aliases=["merge models", "orthomerge"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                RecipeSocket.Input("recipe", tooltip="From the mixer."),
                io.Combo.Input(
                    "output_dtype",
                    options=list(OUTPUT_DTYPES),
                    default="base",
                    optional=True,
                    tooltip="How merged weights are stored. base keeps each tensor's own dtype.",
                ),
                device_input(),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The merged model."),
                RecipeSocket.Output(display_name="recipe", tooltip="The recipe as it was merged."),
                io.String.Output(display_name="report", tooltip="What was merged, in words."),
            ],
        )

    @classmethod
    @host.guarded
    def execute(
        cls, recipe: RecipeWire, output_dtype: str = "base", device: str = "auto"
    ) -> io.NodeOutput:
        """Plan, merge into memory, hand over."""
        report, model = merge_to_model(recipe, output_dtype, device, cls.hidden.unique_id)
        text = merge_report(report)
        payload = {"kind": "merge", "report": report.to_json(), "text": text}
        merged = replace(
            with_hashes(recipe.recipe, report.source_hashes), output_dtype=output_dtype
        )
        wire = replace(recipe, recipe=merged, content_hash=report.content_hash)
        return io.NodeOutput(model, wire, text, ui={"orthomerge": [payload]})
