"""OrthoExtractLoRA: the change of one model of the set as a LoRA file."""

from __future__ import annotations

from comfy_api.latest import io

from ..orthomerge_core.errors import CompatibilityError, RecipeError, did_you_mean
from ..orthomerge_core.keys.opening import open_set
from ..orthomerge_core.keys.setspec import SetSpec
from ..orthomerge_core.linalg.low_rank import RANK_RULES, RankRule
from ..orthomerge_core.lora.extract import LORA_DTYPES, extract_lora
from ..orthomerge_core.lora.naming import NAMINGS
from ..orthomerge_core.recipe.model import BASE
from ..orthomerge_core.report.lora_text import lora_report
from . import host
from .widgets import schema, ui_payload
from .wire import Models

__all__ = ["OrthoExtractLoRA"]


class OrthoExtractLoRA(io.ComfyNode):
    """Streams two models of the set and writes a LoRA; finished or absent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A set, a name in it, and how much of the change to keep."""
        return schema(
            "OrthoExtractLoRA",
            display_name="Ortho Extract LoRA",
            searchable_name="Ortho Extract LoRA (model to LoRA)",
            description="Saves the change from one model of the set to another as a LoRA.",
            search_aliases=["extract lora", "lora from model", "model difference to lora", "svd"],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                Models.Input("models", tooltip="The set. Ortho Add Model adds a merge to it."),
                io.String.Input("name", tooltip="The model whose change becomes a LoRA."),
                io.String.Input(
                    "delta_from",
                    default=BASE,
                    optional=True,
                    tooltip="The model that the change is measured from; base is the base.",
                ),
                io.Combo.Input(
                    "rank_rule",
                    options=list(RANK_RULES),
                    default="fixed",
                    optional=True,
                    tooltip="fixed: max rank. energy: this fraction of the change. ratio: singular "
                    "values from this fraction of the largest. knee: where their curve bends.",
                ),
                io.Float.Input(
                    "fraction",
                    default=0.9,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="Of the rules energy and ratio; 1 keeps everything.",
                ),
                io.Int.Input(
                    "max_rank",
                    default=32,
                    min=1,
                    max=1024,
                    optional=True,
                    tooltip="No layer gets a higher rank.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(LORA_DTYPES),
                    default="fp16",
                    optional=True,
                    tooltip="How the LoRA is stored.",
                ),
                io.Combo.Input(
                    "naming",
                    options=list(NAMINGS),
                    default="kohya",
                    optional=True,
                    tooltip="Names of layers. ComfyUI loads both.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="loras/OrthoMerge",
                    optional=True,
                    tooltip="Below the output folder; a number is added.",
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
        models: SetSpec,
        name: str,
        delta_from: str = BASE,
        rank_rule: str = "fixed",
        fraction: float = 0.9,
        max_rank: int = 32,
        dtype: str = "fp16",
        naming: str = "kohya",
        filename_prefix: str = "loras/OrthoMerge",
    ) -> io.NodeOutput:
        """Decompose layer by layer, then write the file."""
        pair = [_known(models, name, ()), _known(models, delta_from, (BASE,))]
        value = {"fixed": float(max_rank), "knee": 0.0}.get(rank_rule, fraction)
        rule = RankRule(rank_rule, value, max_rank)  # type: ignore[arg-type]  # a combo's option
        path, shown = host.output_target(filename_prefix)
        progress = host.HostProgress(cls.hidden.unique_id)
        with open_set(models, find_duplicates=False) as aligned:
            for report in aligned.skipped:
                if report.name in pair:
                    what = f'"{report.name}" does not fit the base: {report.verdict}'
                    raise CompatibilityError(what, fix="Choose another model.")
            found = extract_lora(
                aligned,
                pair[0],
                path,
                rule,
                parent=pair[1],
                dtype=dtype,
                naming=naming,
                progress=progress,
            )
        progress.finish()
        text = lora_report(found, shown)
        payload = {"kind": "lora", "report": found.to_json(), "file": shown, "text": text}
        return io.NodeOutput(shown, ui=ui_payload(payload, text=[text]))


def _known(models: SetSpec, name: str, more: tuple[str, ...]) -> str:
    """A name of the set, without the spaces around it."""
    name, known = name.strip(), (*more, *models.names())
    if name not in known:
        raise RecipeError(f'no model "{name}" in the set', fix=did_you_mean(name, known))
    return name
