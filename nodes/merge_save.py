"""OrthoMergeSave: the merge as a file in ComfyUI's output folder."""

from __future__ import annotations

from comfy_api.latest import io

from ..orthomerge_core.execute.plan.planner import LAYOUTS
from ..orthomerge_core.recipe.model import OUTPUT_DTYPES
from ..orthomerge_core.report.merge_text import merge_report
from . import host
from .merging import ending, merge_to_file, planned, writes_checkpoint
from .widgets import device_input, dry_run_input, schema, ui_payload
from .wire import RecipeSocket, RecipeWire

__all__ = ["OrthoMergeSave"]

_PREFIX = "diffusion_models/OrthoMerge"
_CHECKPOINT_PREFIX = "checkpoints/OrthoMerge"


class OrthoMergeSave(io.ComfyNode):
    """Writes beside the models in a few hundred megabytes of memory; finished or absent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A recipe, where it goes, and the output dtype."""
        return schema(
            "OrthoMergeSave",
            display_name="Ortho Merge Save",
            description="Merges as the recipe says and saves a new file. Nothing is overwritten, "
            "and a cancelled run leaves nothing.",
            search_aliases=[
                "save merged model",
                "save checkpoint",
                "export model",
                "merge to file",
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                RecipeSocket.Input("recipe", tooltip="From the mixer, or from the execute node."),
                io.String.Input(
                    "filename_prefix",
                    default=_PREFIX,
                    optional=True,
                    tooltip="Below the output folder; a number is added. Loader nodes find "
                    "what lies in diffusion_models/ or, for full checkpoints, in checkpoints/.",
                ),
                io.Combo.Input(
                    "output_dtype",
                    options=["recipe", *OUTPUT_DTYPES],
                    default="recipe",
                    optional=True,
                    tooltip="How the weights are stored. recipe: as the recipe was previewed.",
                ),
                device_input(),
                dry_run_input(),
                io.Combo.Input(
                    "layout",
                    options=list(LAYOUTS),
                    default="auto",
                    optional=True,
                    tooltip="What is written. auto: a full checkpoint where the base is one, "
                    "else a diffusion model. A checkpoint goes to checkpoints/ unless "
                    "filename_prefix says otherwise.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="path", tooltip="The file, relative to the output folder."
                )
            ],
        )

    @classmethod
    @host.guarded
    def execute(
        cls,
        recipe: RecipeWire,
        filename_prefix: str = _PREFIX,
        output_dtype: str = "recipe",
        device: str = "auto",
        dry_run: bool = False,
        layout: str = "auto",
    ) -> io.NodeOutput:
        """Plan; store the MODEL of the same recipe if it still lives, else merge into the file."""
        dtype = recipe.recipe.output_dtype if output_dtype == "recipe" else output_dtype
        suffix = ending(dtype)
        whole = suffix != ".gguf" and filename_prefix == _PREFIX
        if whole and writes_checkpoint(recipe, layout):
            filename_prefix = _CHECKPOINT_PREFIX
        path, shown = host.output_target(filename_prefix, suffix)
        if dry_run:
            plan = planned(recipe, dtype, path, layout)
            return io.NodeOutput(host.blocked(), ui=ui_payload(plan))
        report = merge_to_file(recipe, dtype, device, cls.hidden.unique_id, path, layout)
        text = f"Saved {shown}\n\n{merge_report(report)}"
        payload = {"kind": "merge", "report": report.to_json(), "file": shown, "text": text}
        return io.NodeOutput(shown, ui=ui_payload(payload))
