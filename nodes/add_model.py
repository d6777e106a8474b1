"""OrthoAddModel: adds a MODEL and CLIP of the graph, with LoRAs and patches applied, to the set."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..orthomerge_core.errors import RecipeError
from ..orthomerge_core.keys.setspec import ModelSpec, SetSpec
from ..orthomerge_core.recipe.fields import text
from ..orthomerge_core.recipe.model import BASE
from . import host
from .live import LiveSource
from .widgets import schema, ui_payload
from .wire import Models

__all__ = ["OrthoAddModel"]


class OrthoAddModel(io.ComfyNode):
    """This is how a LoRA becomes a row of the table."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A set, a MODEL, its name, and a CLIP."""
        return schema(
            "OrthoAddModel",
            display_name="Ortho Add Model",
            searchable_name="Ortho Add Model (LoRA merge)",
            description="Adds a connected MODEL, with its CLIP if you connect it too, to the set. "
            "LoRAs and patches are applied; MODEL and CLIP stay as they are.",
            search_aliases=[
                "lora merge",
                "merge lora",
                "lora to checkpoint",
                "bake lora",
                "add model",
            ],
            inputs=[
                Models.Input("models", tooltip="The set to add to."),
                io.Model.Input("model", tooltip="Any MODEL of the base's architecture."),
                io.String.Input(
                    "name",
                    default="lora",
                    optional=True,
                    tooltip="What the table calls it; unique within the set, and not base.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The CLIP that belongs to the MODEL, for example LoraLoader's. Its "
                    "text encoders are merged where the base is a full checkpoint.",
                ),
            ],
            outputs=[Models.Output(display_name="models", tooltip="The set with one more model.")],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """A name is a word that is not reserved."""
        return True if name is None else host.explain(lambda: _checked(name, ()))

    @classmethod
    @host.guarded
    def execute(
        cls, models: SetSpec, model: Any, name: str = "lora", clip: Any = None
    ) -> io.NodeOutput:
        """The set with a live source in it."""
        name = _checked(name, models.names())
        source = LiveSource(model, name, clip)
        spec = models.with_model(ModelSpec(name, f"MODEL {name}", source=source))
        payload = {"kind": "set", "base": spec.base.file, "models": list(spec.names())}
        return io.NodeOutput(spec, ui=ui_payload(payload))


def _checked(name: str, taken: tuple[str, ...]) -> str:
    clean = text(name, "name").strip()
    if clean == BASE or clean in taken:
        raise RecipeError(
            f'name "{clean}"',
            expected="a name that is not base, nor in the set",
            fix="Give the MODEL another name.",
        )
    return clean
