"""The merges that a file came from, as an indented tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import OrthoMergeError, quoted
from ..execute.output.ancestry import family_tree
from ..recipe import codec
from ..recipe.model import BASE

__all__ = ["ancestry_lines"]


def ancestry_lines(header: Mapping[str, str]) -> list[str]:
    """Lines of the tree: each merge's method, below it its base and rows, below those their own.

    Empty for a file that tells of no merge. What a header says is shown shortened and in one line.
    """
    return list(_merge(family_tree(header), ""))


def _merge(node: Mapping[str, Any], indent: str) -> Iterator[str]:
    told = node.get("recipe")
    if not isinstance(told, Mapping):
        return
    try:
        recipe = codec.from_json(told)
    except OrthoMergeError:
        yield f"{indent}merged by another program ({_shown(told.get('type', 'unknown'))})"
        models = node.get("models")
        for model in models.values() if isinstance(models, Mapping) else ():
            if isinstance(model, Mapping):
                yield f"{indent}  {_shown(model.get('name', ''))}"
        return
    yield f"{indent}merged with {_shown(recipe.method)}"
    below = node.get("ingredients")
    below = below if isinstance(below, Mapping) else {}
    yield f"{indent}  base: {_shown(recipe.base)}"
    yield from _below(below, BASE, indent)
    seen: set[str] = set()
    for row in recipe.active_rows:
        ref = recipe.models.get(row.model)
        times = f"{row.repeat} × " if row.repeat != 1 else ""
        origin = "" if row.delta_from == BASE else f" from {_shown(row.delta_from)}"
        file = _shown(ref.file) if ref else "no file"
        yield f"{indent}  {times}{row.alpha:g} × {_shown(row.model)}{origin}: {file}"
        if row.model not in seen:
            seen.add(row.model)
            yield from _below(below, row.model, indent)
    for name in recipe.used_models():
        if name not in seen and name in recipe.models:
            yield f"{indent}  {_shown(name)}: {_shown(recipe.models[name].file)}"
            yield from _below(below, name, indent)


def _below(ingredients: Mapping[str, Any], name: str, indent: str) -> Iterator[str]:
    node = ingredients.get(name)
    if isinstance(node, Mapping):
        yield from _merge(node, f"{indent}    ")


def _shown(value: object) -> str:
    return quoted(str(value), 80)
