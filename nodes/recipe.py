"""OrthoRecipe: a recipe from text or from a merged file, and back as text."""

from __future__ import annotations

from comfy_api.latest import io

from ..orthomerge_core.errors import OrthoMergeError, RecipeError
from ..orthomerge_core.execute.output.provenance import recipe_from_metadata
from ..orthomerge_core.execute.plan.renamed import resolve_by_content
from ..orthomerge_core.execute.plan.resolve import spec_from_recipe
from ..orthomerge_core.io.hash_memo import HashMemo
from ..orthomerge_core.io.opening import open_source
from ..orthomerge_core.recipe.model import Recipe
from ..orthomerge_core.report.card import model_card
from ..orthomerge_core.report.formula import formula_text
from . import host
from .texts import FORMATS, read_text, write_text
from .widgets import schema, ui_payload
from .wire import RecipeSocket, RecipeWire

__all__ = ["OrthoRecipe"]

_NONE = "none"


class OrthoRecipe(io.ComfyNode):
    """Reads a recipe from where it is given: a connected one, a merged file, or JSON text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Text, file or recipe in; recipe and text out."""
        return schema(
            "OrthoRecipe",
            display_name="Ortho Merge Recipe",
            description="Loads a recipe from JSON or a merged file's header, finds its models, "
            "and exports it.",
            search_aliases=[
                "load recipe",
                "export recipe",
                "reproduce merge",
                "merge metadata",
                "sd-mecha",
                "mecha recipe",
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.String.Input(
                    "json",
                    multiline=True,
                    default="",
                    optional=True,
                    tooltip="A recipe as JSON or .mecha text, where no file or recipe is given.",
                ),
                io.Combo.Input(
                    "file",
                    options=[_NONE, *host.readable_names()],
                    default=_NONE,
                    optional=True,
                    tooltip="A file that OrthoMerge saved; its recipe is in its header.",
                ),
                io.Combo.Input(
                    "export",
                    options=list(FORMATS),
                    default="json",
                    optional=True,
                    tooltip="What the text output holds: the recipe as JSON, for sd-mecha, as a "
                    "Python script, or as a model card in Markdown.",
                ),
                RecipeSocket.Input(
                    "recipe",
                    optional=True,
                    tooltip="A recipe to export; it goes first.",
                ),
            ],
            outputs=[
                RecipeSocket.Output(display_name="loaded", tooltip="The recipe, ready to execute."),
                io.String.Output(display_name="text", tooltip="The recipe in the chosen format."),
            ],
        )

    @classmethod
    def validate_inputs(cls, json: str | None = None) -> bool | str:
        """The text must be a recipe, if there is one."""
        blank = json is None or (isinstance(json, str) and not json.strip())
        return True if blank else host.explain(lambda: read_text(json))  # type: ignore[arg-type]

    @classmethod
    def fingerprint_inputs(
        cls, json: str | None = "", file: str | None = _NONE, **_: object
    ) -> str:
        """The merged file, and every file that its recipe or the text names."""
        try:
            recipe = _read(json or "", file or _NONE)
        except OrthoMergeError:
            return host.fingerprint([str(file)])
        files = [str(file), recipe.base, *(r.file for r in recipe.models.values())]
        vae = recipe.vae_file
        return host.fingerprint(files) + (host.vae_fingerprint(vae) if vae else "")

    @classmethod
    @host.guarded
    def execute(
        cls,
        json: str = "",
        file: str = _NONE,
        export: str = "json",
        recipe: RecipeWire | None = None,
    ) -> io.NodeOutput:
        """Load, find the models, export."""
        wire = recipe or _loaded(json, file, cls.hidden.unique_id)
        text = _card(wire.recipe, file) if export == "card" else write_text(wire.recipe, export)
        payload = {"kind": "recipe", "formula": formula_text(wire.recipe), "text": text}
        return io.NodeOutput(wire, text, ui=ui_payload(payload))


def _read(text: str, file: str) -> Recipe:
    if file != _NONE:
        path = host.resolve(file)
        with open_source(path) as source:
            return recipe_from_metadata(source.metadata, path.name)
    if text.strip():
        return read_text(text)
    raise RecipeError(
        "no recipe is given", fix="Paste JSON, choose a merged file, or connect a recipe."
    )


def _card(recipe: Recipe, file: str) -> str:
    """The card of a recipe, with what the header of the merged file says where one is chosen."""
    if file == _NONE:
        return model_card(recipe)
    path = host.resolve(file)
    with open_source(path) as source:
        return model_card(recipe, source.metadata, name=path.stem)


def _loaded(text: str, file: str, node_id: str | None) -> RecipeWire:
    """The recipe with its files: by name, and those that were renamed by what is in them."""
    recipe, progress = _read(text, file), host.HostProgress(node_id)
    memo = HashMemo(host.cache_dir("hashes"))
    resolve = resolve_by_content(recipe, host.ModelFolders(), memo, progress)
    return RecipeWire(recipe, spec_from_recipe(recipe, resolve, resolve_vae=host.resolve_vae))
