"""OrthoMergeExecute: the merge as a MODEL, ready for KSampler."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..orthomerge_core.execute.output.provenance import with_hashes
from ..orthomerge_core.recipe.model import ALPHA_LIMIT, OUTPUT_DTYPES
from ..orthomerge_core.report.merge_plots import retention_picture
from ..orthomerge_core.report.merge_text import merge_report
from . import host
from .cells import merge_cell
from .merging import merge_to_model, planned
from .widgets import device_input, dry_run_input, picture, schema, told
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
            searchable_name="Ortho Merge Execute (task arithmetic)",
            description="Merges as the recipe says and gives a MODEL.",
            search_aliases=[
                "merge",
                "merge models",
                "checkpoint merge",
                "task arithmetic",
                "weighted sum",
                "orthomerge",
            ],
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
                dry_run_input(),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-ALPHA_LIMIT,
                    max=ALPHA_LIMIT,
                    step=0.05,
                    round=False,
                    optional=True,
                    tooltip="How much of the whole merged change is added: 0 is the base, 1 the "
                    "merge as the recipe says.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The merged model."),
                RecipeSocket.Output(display_name="recipe", tooltip="The recipe as it was merged."),
                io.String.Output(display_name="report", tooltip="What was merged, in words."),
                io.Image.Output(
                    display_name="retention",
                    tooltip="What is left of each row, overall and block by block.",
                ),
            ],
        )

    @classmethod
    @host.guarded
    def execute(
        cls,
        recipe: RecipeWire,
        output_dtype: str = "base",
        device: str = "auto",
        dry_run: bool = False,
        strength: float = 1.0,
    ) -> io.NodeOutput:
        """Plan, merge into memory, hand over."""
        if strength != 1.0:
            scaled = replace(recipe.recipe, strength=recipe.recipe.strength * strength)
            recipe = replace(recipe, recipe=scaled)
        if dry_run:
            plan, nothing = planned(recipe, output_dtype), host.blocked()
            ui = told(plan)
            return io.NodeOutput(nothing, nothing, plan["text"], nothing, ui=ui)
        if recipe.group is not None:
            plan, model = merge_cell(recipe, output_dtype, device)
            words = f"Merged when it is sampled.\n\n{plan['text']}"
            ui = told(plan | {"text": words})
            return io.NodeOutput(model, recipe, words, host.blocked(), ui=ui)
        report, model = merge_to_model(recipe, output_dtype, device, cls.hidden.unique_id)
        text = merge_report(report)
        payload = {"kind": "merge", "report": report.to_json(), "text": text}
        merged = replace(
            with_hashes(recipe.recipe, report.source_hashes), output_dtype=output_dtype
        )
        wire = replace(recipe, recipe=merged, content_hash=report.content_hash)
        drawn = picture(lambda: retention_picture(report))
        return io.NodeOutput(model, wire, text, drawn, ui=told(payload))
