"""A recipe as `.mecha` text and as a script for sd-mecha."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import UnsupportedError
from ..methods.registry import get_method
from ..recipe.codec import to_json
from ..recipe.model import BASE, Recipe
from .limits import require_storable
from .method import METHOD, register, used_models

if TYPE_CHECKING:
    from sd_mecha.recipe_nodes import RecipeNode

__all__ = ["recipe_node", "recipe_text", "script_text"]


def recipe_node(recipe: Recipe, config: str | None = None, *, native: bool = True) -> RecipeNode:
    """The recipe as an sd-mecha graph; files by name, to be found in sd-mecha's model folders.

    Args:
        config: identifier of a model config, or None to let sd-mecha infer it.
        native: say sums of differences in sd-mecha's own words, which repair no weights that are
            not finite; False always uses our method.
    """
    import sd_mecha

    get_method(recipe.method).check_options(recipe.options)
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

    text = json.dumps(to_json(recipe), separators=(",", ":"), ensure_ascii=True)
    return merge_methods.resolve(METHOD)(base, *files.values(), recipe=text)


def recipe_text(recipe: Recipe, config: str | None = None) -> str:
    """The recipe as `.mecha` text, for `sd_mecha.deserialize` after `register()`.

    Raises:
        RecipeError: the recipe is not valid.
        UnsupportedError: sd-mecha is not installed.
    """
    try:
        import sd_mecha
    except ImportError as error:
        raise UnsupportedError(
            "sd-mecha is not installed, so no .mecha recipe can be written",
            fix="Install it: pip install sd-mecha.",
        ) from error
    # No line break at the end: sd-mecha's reader takes an empty line for a broken command.
    return str(sd_mecha.serialize(recipe_node(recipe, config), finalize=False))


def script_text(recipe: Recipe) -> str:
    """A Python script that runs the recipe with sd-mecha: `script.py MODELS_FOLDER OUT [DTYPE]`.

    What sd-mecha cannot say is refused: here where the recipe tells, else when the script has seen
    the files (`require_plain_files`).

    Raises:
        RecipeError: the recipe is not valid.
        UnsupportedError: the output dtype is one that sd-mecha cannot store.
    """
    get_method(recipe.method).check_options(recipe.options)
    used_models(recipe)
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
    layered = any(row.layers.strip() for row in recipe.active_rows)
    return recipe.method == "task_arithmetic" and not layered


def _added(recipe: Recipe, base: RecipeNode, files: Mapping[str, RecipeNode]) -> RecipeNode:
    """B + Σ r α (M − P), in sd-mecha's own words."""
    import sd_mecha
    from sd_mecha.extensions import merge_methods

    terms = [(r.model, r.delta_from, r.alpha * r.repeat) for r in recipe.active_rows]
    if recipe.texture_boost.model is not None and recipe.texture_boost.active:
        boost = recipe.texture_boost
        terms.append((recipe.texture_boost.model, recipe.texture_parent(), boost.alpha))
    add, merged = merge_methods.resolve("add_difference"), base
    for model, parent, weight in terms:
        other = base if parent == BASE else files[parent]
        merged = add(merged, sd_mecha.subtract(files[model], other), alpha=float(weight))
    return merged
