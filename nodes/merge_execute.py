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
from .components import PARTS, part_outputs, wired_parts
from .merging import ending, layout_for, merge_to_model, planned
from .widgets import device_input, dry_run_input, picture, schema, ui_payload
from .wire import RecipeSocket, RecipeWire

__all__ = ["OrthoMergeExecute"]

_CLIP_SLOT = 4
"""Number of the output CLIP; VAE follows it."""
_CELL = (
    "The merges of a grid are MODELs that take turns in memory. Connect CLIP and VAE of the base, "
    "or merge one recipe at a time."
)


class OrthoMergeExecute(io.ComfyNode):
    """Streams the merge tensor by tensor; what is previewed is what would be saved."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A recipe, the output dtype and the device."""
        return schema(
            "OrthoMergeExecute",
            display_name="Ortho Merge Execute",
            searchable_name="Ortho Merge Execute (task arithmetic)",
            description="Merges as the recipe says and gives a MODEL, and of a full checkpoint "
            "also CLIP and VAE.",
            search_aliases=[
                "merge",
                "merge models",
                "checkpoint merge",
                "task arithmetic",
                "weighted sum",
                "orthomerge",
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                RecipeSocket.Input("recipe", tooltip="From the mixer."),
                io.Combo.Input(
                    "output_dtype",
                    options=[name for name in OUTPUT_DTYPES if ending(name) != ".gguf"],
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
                *part_outputs("of the merge"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        """Run again when CLIP or VAE becomes connected: only what is connected is made."""
        return host.wired_anywhere("OrthoMergeExecute", _CLIP_SLOT)

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
        parts = wired_parts(cls.hidden, _CLIP_SLOT)
        if dry_run:
            plan, nothing = planned(recipe, output_dtype, layout=layout_for(parts)), host.blocked()
            ui = ui_payload(plan)
            return io.NodeOutput(nothing, nothing, plan["text"], nothing, nothing, nothing, ui=ui)
        if recipe.group is not None:
            plan, model = merge_cell(recipe, output_dtype, device)
            words = f"Merged when it is sampled.\n\n{plan['text']}"
            ui = ui_payload(plan | {"text": words})
            rest = [host.blocked(_CELL) for _ in PARTS]
            return io.NodeOutput(model, recipe, words, host.blocked(), *rest, ui=ui)
        made = merge_to_model(recipe, output_dtype, device, cls.hidden.unique_id, parts)
        report = made.report
        absent = tuple(dict.fromkeys(made.absent.values()))
        text = "\n\n".join([merge_report(report), *absent])
        shown = report.to_json() | {"notes": [*report.notes, *absent]}
        payload = {"kind": "merge", "report": shown, "text": text}
        merged = replace(
            with_hashes(recipe.recipe, report.source_hashes), output_dtype=output_dtype
        )
        wire = replace(recipe, recipe=merged, content_hash=report.content_hash)
        drawn = picture(lambda: retention_picture(report))
        rest = [getattr(made, part) or host.blocked(made.absent.get(part)) for part in PARTS]
        return io.NodeOutput(made.model, wire, text, drawn, *rest, ui=ui_payload(payload))
