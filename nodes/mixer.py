"""OrthoMixer: the table, which combines the optimizer's proposal with the person's edits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..orthomerge_core.errors import PlanError, RecipeError, did_you_mean
from ..orthomerge_core.keys.setspec import ModelSpec, SetSpec
from ..orthomerge_core.methods.registry import DEFAULT_METHOD, all_methods, get_method
from ..orthomerge_core.recipe.check import find_cycle, problems
from ..orthomerge_core.recipe.components import prediction_from_json, vae_from_json
from ..orthomerge_core.recipe.layers import parse_layers
from ..orthomerge_core.recipe.model import BASE, MERGE, ModelRef, Recipe, TextureBoost
from ..orthomerge_core.recipe.table import (
    effective_rows,
    method_options,
    parse_table,
)
from ..orthomerge_core.report.formula import formula_text
from . import host
from .parts import set_choices
from .payloads import mix_payload
from .widgets import extended, schema, ui_payload
from .wire import Mix, MixWire, Models, RecipeSocket, RecipeWire

__all__ = ["OrthoMixer"]


class OrthoMixer(io.ComfyNode):
    """Rows that the person touched stay; the others follow the proposal."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Set, proposal, method, texture boost and the table's one JSON string."""
        table = io.String.Input(
            "table",
            default="",
            optional=True,
            socketless=True,
            tooltip="What differs from the proposal, as JSON. Empty follows the optimizer.",
        )
        texture = io.String.Input(
            "texture_model",
            default="",
            optional=True,
            tooltip="A model whose change is added once more after the merge. Empty: none.",
        )
        return schema(
            "OrthoMixer",
            display_name="Ortho Merge Mixer",
            searchable_name="Merge: SLERP, weighted sum, block weights (Ortho Mixer)",
            description="The table of the merge: one row per change, filled by the optimizer, "
            "overruled by you.",
            search_aliases=[
                "merge",
                "merge table",
                "weighted sum",
                "add difference",
                "task arithmetic",
                "slerp",
                "block weights",
                "block merge",
                "mbw",
                "ties",
                "dare",
                "della",
                "model stock",
                "average",
                "geometric median",
                "train difference",
                "cosine",
                "multislerp",
                "karcher",
                "breadcrumbs",
                "sce",
                "tsv",
                "iso-c",
                "svc",
                "orthogonal projection",
                "orthomerge",
            ],
            is_output_node=True,
            inputs=[
                Models.Input("models", tooltip="The set to mix."),
                Mix.Input(
                    "mix",
                    optional=True,
                    tooltip="A proposal. Without it every model is added.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(all_methods()),
                    default=DEFAULT_METHOD,
                    optional=True,
                    tooltip="How the changes are combined. task_arithmetic adds them plainly.",
                ),
                extended(texture, widgetType="ORTHOMERGE_MODEL"),
                io.Float.Input(
                    "texture_alpha",
                    default=0.0,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    round=0.0001,
                    optional=True,
                    tooltip="Share of that model's change that is added, 0 to 0.5. 0 adds nothing.",
                ),
                extended(
                    table, widgetType="ORTHOMERGE_TABLE", orthomerge={"methods": _method_infos()}
                ),
                *_part_inputs(),
            ],
            outputs=[
                RecipeSocket.Output(display_name="recipe", tooltip="All that decides the merge."),
                io.String.Output(display_name="formula", tooltip="The merge in symbols and words."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, vae: object = BASE, **_: object) -> str:
        """Size and times of the file that gives the VAE, if a file does."""
        is_file = isinstance(vae, str) and vae not in ("", BASE, MERGE)
        return host.vae_fingerprint(str(vae)) if is_file else ""

    @classmethod
    def validate_inputs(cls, table: str | None = None) -> bool | str:
        """What can be wrong in the table whatever it is connected to."""
        return True if table is None else host.explain(lambda: _check_table(table))

    @classmethod
    @host.guarded
    def execute(
        cls,
        models: SetSpec,
        mix: MixWire | None = None,
        method: str = DEFAULT_METHOD,
        texture_model: str = "",
        texture_alpha: float = 0.0,
        table: str = "",
        vae: str = BASE,
        prediction: str = "",
    ) -> io.NodeOutput:
        """Settle the table against the proposal; every problem of the rows is reported at once."""
        texture = TextureBoost(texture_model.strip() or None, texture_alpha)
        recipe = _recipe(models, mix, method, texture, table)
        recipe = replace(
            recipe,
            vae=vae_from_json(vae.strip() or BASE, recipe.models),
            prediction=prediction_from_json(_chosen(prediction), recipe.models),
        )
        found = problems(recipe)
        if found:
            raise found[0] if len(found) == 1 else PlanError(found)
        text = formula_text(recipe)
        payload = mix_payload(mix, models.names()) | {
            "formula": text,
            "text": text,
            "parts": set_choices(models),
        }
        wire = RecipeWire(recipe, _with_vae(models, recipe.vae_file))
        return io.NodeOutput(wire, text, ui=ui_payload(payload))


def _chosen(prediction: str) -> str | None:
    """The prediction that was asked for; `auto` is another word for none."""
    return None if prediction.strip() in ("", "auto") else prediction.strip()


def _part_inputs() -> list[Any]:
    """Choices that only checkpoints ask for; the table's widget shows them where they matter."""
    vae = io.String.Input(
        "vae",
        default=BASE,
        optional=True,
        socketless=True,
        tooltip="Where the VAE of a merged checkpoint comes from: base, merge (by the rows' "
        "alphas), the name of a model, or a file of models/vae.",
    )
    prediction = io.String.Input(
        "prediction",
        default="",
        optional=True,
        socketless=True,
        tooltip="What the result predicts: base, epsilon, v, v+ztsnr, or the name of a model. "
        "Empty: as the base, and an error where the models disagree.",
    )
    return [extended(vae, hidden=True), extended(prediction, hidden=True)]


def _with_vae(models: SetSpec, file: str | None) -> SetSpec:
    """The set, and the file that gives the VAE."""
    if file is None:
        return models
    return replace(models, vae=ModelSpec("VAE", file, host.resolve_vae(file)))


def _recipe(
    models: SetSpec, mix: MixWire | None, method: str, texture: TextureBoost, text: str
) -> Recipe:
    table, names = parse_table(text), models.names()
    options = get_method(method).check_options(method_options(table, method))
    proposal = tuple(row for row in mix.proposal.rows if row.model in names) if mix else ()
    if texture.model is not None and texture.model not in names:
        raise RecipeError(
            f'texture_model "{texture.model}" is not in the set',
            fix=did_you_mean(texture.model, names),
        )
    return Recipe(
        base=models.base.file,
        models={m.name: _reference(m) for m in models.models},
        rows=effective_rows(table, proposal, names),
        method=method,
        options=options,
        texture_boost=texture,
        architecture=models.architecture,
        repairs=models.repairs.to_json(),
        components="diffusion" if models.diffusion_only else "base",
    )


def _reference(model: ModelSpec) -> ModelRef:
    live = model.source is not None and model.source.is_live
    return ModelRef(model.file, block_map=model.block_map, live=live)


def _check_table(text: str) -> None:
    table = parse_table(text)
    for method, options in table.options.items():
        get_method(method).check_options(options)
    parents: dict[str, tuple[str, ...]] = {}
    for number, entry in enumerate(table.rows, start=1):
        row = entry.row
        try:
            parse_layers(row.layers)
        except RecipeError as error:
            raise RecipeError(f'table row {number}, column "layers": {error}') from None
        if entry.touched and row.enabled and row.delta_from != BASE:
            parents[row.model] = (*parents.get(row.model, ()), row.delta_from)
    cycle = find_cycle(parents)
    if cycle:
        raise RecipeError(
            f"table: delta_from goes in a circle, {' → '.join(cycle)}",
            fix="Set one of these rows to delta_from base.",
        )


def _method_infos() -> dict[str, object]:
    """What every method states about itself, for the browser."""
    return {name: method.to_json() for name, method in all_methods().items()}
