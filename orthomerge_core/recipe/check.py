"""Checks rows against each other: unknown names, self-parents and cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import OrthoMergeError, RecipeError, did_you_mean
from .layers import parse_layers
from .model import BASE, Recipe

__all__ = ["find_cycle", "problems", "row_problems"]


def problems(recipe: Recipe) -> list[OrthoMergeError]:
    """Everything that is wrong with the recipe by itself, in the order of its rows."""
    found = [error for _, error in row_problems(recipe)]
    boost = recipe.texture_boost
    if boost.active and boost.model not in recipe.models:
        found.append(
            RecipeError(
                f'texture_boost: no model "{boost.model}" in the set',
                fix=did_you_mean(str(boost.model), tuple(recipe.models)),
            )
        )
    elif boost.active:
        found += _texture_parent_problems(recipe)
    return found


def _texture_parent_problems(recipe: Recipe) -> list[OrthoMergeError]:
    """A row that is off, and so not judged as a row, still says what the texture is taken from."""
    parent, model = recipe.texture_parent(), str(recipe.texture_boost.model)
    if next((row.enabled for row in recipe.rows if row.model == model), True):
        return []
    if parent == model:
        error = RecipeError(
            f'texture_boost: "{model}" is measured from itself',
            fix="Set delta_from of its row to base.",
        )
        return [error]
    if parent == BASE or parent in recipe.models:
        return []
    fix = did_you_mean(parent, (BASE, *recipe.models))
    what = f'texture_boost: delta_from "{parent}" of "{model}" is not in the set'
    return [RecipeError(what, fix=fix)]


def row_problems(recipe: Recipe) -> list[tuple[int, OrthoMergeError]]:
    """(row index from 0, problem) of every enabled row, for a table that marks rows in words."""
    found: list[tuple[int, OrthoMergeError]] = []
    names = tuple(recipe.models)
    for index, row in enumerate(recipe.rows):
        if not row.enabled:
            continue
        place = f"row {index + 1}"
        if row.model not in recipe.models:
            error = RecipeError(
                f'{place}: no model "{row.model}" in the set', fix=did_you_mean(row.model, names)
            )
            found.append((index, error))
        if row.delta_from != BASE and row.delta_from not in recipe.models:
            error = RecipeError(
                f'{place}: delta_from "{row.delta_from}" is not in the set',
                fix=did_you_mean(row.delta_from, (BASE, *names)),
            )
            found.append((index, error))
        try:
            parse_layers(row.layers)
        except RecipeError as error:
            found.append((index, RecipeError(f"{place}, {error.args[0]}")))
    return found + _cycle_problems(recipe)


def find_cycle(parents: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The first cycle of model → its delta bases, the first name repeated at the end; else ().

    A depth-first search without recursion: each model is left once, whatever the depth.
    """
    finished: set[str] = set()
    for start in parents:
        path: dict[str, Iterator[str]] = {}  # from `start` on, with the parents not yet visited
        name: str | None = start
        while name is not None:
            if name in path:
                names = list(path)
                return (*names[names.index(name) :], name)
            if name not in finished:
                path[name] = iter(parents.get(name, ()))
            name = _next(path, finished)
    return ()


def _next(path: dict[str, Iterator[str]], finished: set[str]) -> str | None:
    """The next model to visit; those on the path without another parent are finished."""
    while path:
        last = next(reversed(path))
        parent = next(path[last], None)
        if parent is not None:
            return parent
        del path[last]
        finished.add(last)
    return None


def _cycle_problems(recipe: Recipe) -> list[tuple[int, OrthoMergeError]]:
    parents: dict[str, tuple[str, ...]] = {}
    for row in recipe.rows:
        if row.enabled and row.delta_from != BASE:
            parents[row.model] = (*parents.get(row.model, ()), row.delta_from)
    cycle = find_cycle(parents)
    if not cycle:
        return []
    index = next(
        i
        for i, row in enumerate(recipe.rows)
        if row.enabled and row.model == cycle[0] and row.delta_from == cycle[1]
    )
    chain = " → ".join(cycle)
    error = RecipeError(
        f"row {index + 1}: delta_from goes in a circle, {chain}",
        fix="Set one of these rows to delta_from base.",
    )
    return [(index, error)]
