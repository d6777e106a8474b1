"""Recipes of this pack inside sd-mecha, and back.

    from orthomerge_core import mecha
    mecha.register()                                  # our methods, once per process
    config = mecha.register_config("base.safetensors")  # any architecture, from a file's header
    graph = sd_mecha.deserialize(mecha.recipe_text(recipe, config))
    sd_mecha.merge(graph, output="out.safetensors")

A recipe becomes one call of the merge method `orthomerge_studio`, which carries it as JSON; adding
differences without layer weights needs only sd-mecha's own methods. The tensors are those of our
executor within one unit of the output dtype, where sd-mecha can read the files as they are: it
repairs no prefixes, reads no scaled quantization, casts integer tensors like weights, and stores
everything in one dtype without scales. `require_plain_files` says so beforehand, all at once; an
exported script calls it first.
"""

from __future__ import annotations

from .config import register_config
from .export import recipe_node, recipe_text, script_text
from .imports import recipe_from_text
from .limits import require_plain_files
from .method import METHOD, merge_tensor, register

__all__ = [
    "METHOD",
    "merge_tensor",
    "recipe_from_text",
    "recipe_node",
    "recipe_text",
    "register",
    "register_config",
    "require_plain_files",
    "script_text",
]
