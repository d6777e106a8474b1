"""A recipe as `.mecha` text and as a script for sd-mecha."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..methods.registry import get_method
from ..recipe.codec import to_json
from ..recipe.model import BASE, Recipe
from .limits import require_sayable, require_storable
from .method import METHOD, register, used_models
from .text import MechaText

if TYPE_CHECKING:
    from sd_mecha.recipe_nodes import RecipeNode

__all__ = ["recipe_node", "recipe_text", "script_text"]


def recipe_node(recipe: Recipe, config: str | None = None, *, native: bool = True) -> RecipeNode:
    """The recipe as an sd-mecha graph; files by name, to be found in sd-mecha's model folders.

    Args:
        config: identifier of a model config, or None to let sd-mecha infer it.
        native: express sums of differences by sd-mecha's own methods, which do not repair weights
            that are not finite; False always uses our method.
    """
    import sd_mecha

    get_method(recipe.method).check_options(recipe.options)
    require_sayable(recipe)
    base = sd_mecha.model(recipe.base, config)
    names = used_models(recipe)
    files = {
        name: sd_mecha.model(recipe.models[name].file, config) | base
        for name in names
        if name != BASE
    }
    if native and _is_plain(recipe):
        return _added(recipe, base, files)
    register()
    from sd_mecha.extensions import merge_methods

    return merge_methods.resolve(METHOD)(base, *files.values(), recipe=_call_argument(recipe))


def recipe_text(recipe: Recipe, config: str | None = None, *, native: bool = True) -> str:
    """The recipe as `.mecha` text, for `sd_mecha.deserialize` after `register()`.

    It is, byte for byte, what `sd_mecha.serialize` writes of `recipe_node(recipe, config)`.
    sd-mecha is neither needed nor imported.

    Args:
        native: as in `recipe_node`; False for checkpoints, of which sd-mecha's own methods would
            merge the VAE and schedules too.

    Raises:
        RecipeError: the recipe is not valid.
        UnsupportedError: it takes its VAE from a file, or changes what the model predicts.
    """
    get_method(recipe.method).check_options(recipe.options)
    require_sayable(recipe)
    text = MechaText()
    base = text.model(recipe.base, config)

    def file(name: str) -> str:
        if name == BASE:
            return base
        return text.merge("fallback", text.model(recipe.models[name].file, config), base)

    names = used_models(recipe)
    if not (native and _is_plain(recipe)):
        files = [file(name) for name in names if name != BASE]
        text.merge(METHOD, base, *files, recipe=text.constant(_call_argument(recipe)))
        return str(text)
    merged = base
    for model, parent, weight in _terms(recipe):
        change = text.merge("subtract", file(model), file(parent))
        merged = text.merge("add_difference", merged, change, text.constant(weight))
    return str(text)


def script_text(recipe: Recipe) -> str:
    """A Python script that runs the recipe with sd-mecha: `script.py MODELS_FOLDER OUT [DTYPE]`.

    What sd-mecha cannot do is refused: here where the recipe alone shows it, else when the script
    has read the files' headers (`require_plain_files`).

    Raises:
        RecipeError: the recipe is not valid.
        UnsupportedError: the output dtype is one that sd-mecha cannot store.
    """
    get_method(recipe.method).check_options(recipe.options)
    used_models(recipe)
    require_sayable(recipe)
    require_storable(recipe.output_dtype)
    text = json.dumps(to_json(recipe), indent=2, ensure_ascii=False)
    return _SCRIPT.format(recipe=text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"'))


_SCRIPT = '''"""Run this merge with sd-mecha: python this_file.py MODELS_FOLDER OUTPUT [DTYPE]

OUTPUT ends in .safetensors, DTYPE is bf16, fp16 or fp32. Needs sd-mecha and orthomerge_core
(OrthoMerge Studio) importable.
"""

import sys
from pathlib import Path

import sd_mecha
from sd_mecha.extensions import model_dirs

from orthomerge_core import mecha
from orthomerge_core.errors import OrthoMergeError
from orthomerge_core.recipe.codec import loads

RECIPE = """
{recipe}
"""


def main(folder, output, dtype=""):
    recipe = loads(RECIPE)
    # Says what sd-mecha cannot do with these files, and which dtype the result has.
    output_dtype = mecha.require_plain_files(recipe, folder, dtype)
    model_dirs.add_path(folder)
    config = mecha.register_config(folder / recipe.base)
    sd_mecha.merge(
        mecha.recipe_node(recipe, config, native=False),
        output=output,
        output_dtype=output_dtype,
        check_finite_output=False,
        omit_non_finite_inputs=False,
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
    except OrthoMergeError as error:
        sys.exit(str(error))
'''


def _is_plain(recipe: Recipe) -> bool:
    rows = recipe.active_rows
    layered = any(row.layers.strip() or row.text is not None for row in rows)
    own_vae = recipe.vae.source != BASE
    return recipe.method == "task_arithmetic" and not layered and not own_vae


def _call_argument(recipe: Recipe) -> str:
    """The recipe as the one argument of our method inside sd-mecha."""
    return json.dumps(to_json(recipe), separators=(",", ":"), ensure_ascii=True)


def _terms(recipe: Recipe) -> list[tuple[str, str, float]]:
    """(model, parent, weight) of every difference that is added, in order."""
    strength = recipe.strength
    terms = [
        (r.model, r.delta_from, float(r.alpha * r.repeat * strength)) for r in recipe.active_rows
    ]
    if recipe.texture_boost.model is not None and recipe.texture_boost.active:
        boost = recipe.texture_boost
        terms.append((str(boost.model), recipe.texture_parent(), float(boost.alpha * strength)))
    return terms


def _added(recipe: Recipe, base: RecipeNode, files: Mapping[str, RecipeNode]) -> RecipeNode:
    """B + Σ r α (M − P), by sd-mecha's own methods."""
    import sd_mecha
    from sd_mecha.extensions import merge_methods

    add, merged = merge_methods.resolve("add_difference"), base
    for model, parent, weight in _terms(recipe):
        other = base if parent == BASE else files[parent]
        merged = add(merged, sd_mecha.subtract(files[model], other), alpha=weight)
    return merged
