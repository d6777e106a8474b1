"""The cells of a grid: every combination of its axes' values, and the order to make them in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RecipeError
from ..recipe.codec import to_json
from ..recipe.model import Recipe
from .targets import Setting, Target, find_target
from .values import split_values

__all__ = [
    "MAX_AXES",
    "MAX_CELLS",
    "Axis",
    "Cell",
    "Grid",
    "make_grid",
    "parse_axis",
    "split_phrase",
]

MAX_AXES = 3
MAX_CELLS = 256


@dataclass(frozen=True)
class Axis:
    """A target and its values in the order in which a picture shows them."""

    target: Target
    labels: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """What the axis is called in a picture."""
        return self.target.name

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Cell:
    """One merge of a grid: its place on each axis, its labels, and what is merged."""

    place: tuple[int, ...]
    labels: tuple[str, ...]
    setting: Setting

    def caption(self, axes: Sequence[Axis]) -> str:
        """`ink alpha 0.5 · method average`."""
        return " · ".join(f"{a.name} {label}" for a, label in zip(axes, self.labels, strict=True))


@dataclass(frozen=True)
class Grid:
    """Axes (columns, rows, pages) and the cells in the order in which they are best made.

    Neighbors in that order differ on one axis only, and the axis that changes least often is the
    one whose change costs most, so that consecutive merges share as much cached work as they can.
    """

    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values per axis: columns, rows, pages."""
        return tuple(len(axis) for axis in self.axes)

    def pages(self) -> Iterator[tuple[str, list[list[Cell | None]]]]:
        """(title, rows of cells) for each value of the third axis, or once."""
        by_place = {cell.place: cell for cell in self.cells}
        columns, rows, pages = (*self.shape, 1, 1)[:3]
        for page in range(pages):
            title = f"{self.axes[2].name} {self.axes[2].labels[page]}" if len(self.axes) > 2 else ""
            yield (
                title,
                [
                    [by_place.get((x, y, page)[: len(self.axes)]) for x in range(columns)]
                    for y in range(rows)
                ],
            )

    def to_json(self) -> dict[str, Any]:
        """Axes with their labels, and every cell with its place and whole recipe."""
        return {
            "version": 1,
            "axes": [{"name": axis.name, "labels": list(axis.labels)} for axis in self.axes],
            "cells": [
                {
                    "place": list(cell.place),
                    "labels": list(cell.labels),
                    "recipe": to_json(cell.setting.recipe),
                }
                for cell in self.cells
            ],
        }


def parse_axis(text: str, recipe: Recipe) -> Axis:
    """An axis from `target = values`, e.g. `ink.alpha = 0..1/5`, `method = each`.

    Raises:
        RecipeError: the phrase, its target or one of its values cannot be understood.
    """
    target_text, equals, values_text = split_phrase(text)
    if not equals:
        raise RecipeError(
            f'axis "{text.strip()}" has no "="',
            fix="Write target = values, e.g. alpha = 0, 0.5, 1.",
        )
    target = find_target(target_text, recipe)
    found = target.values(split_values(values_text, target.name), recipe)
    return Axis(target, tuple(label for label, _ in found), tuple(value for _, value in found))


def make_grid(recipe: Recipe, phrases: Sequence[str]) -> Grid:
    """The grid over `recipe` that these axes span; empty phrases are left out.

    Args:
        phrases: up to three axes: columns, rows, pages.

    Raises:
        RecipeError: no axis, one that cannot be understood, two for one thing, or too many cells.
    """
    axes = tuple(parse_axis(text, recipe) for text in phrases if text.strip())
    if not 1 <= len(axes) <= MAX_AXES:
        raise RecipeError(
            "grid",
            expected=f"1 to {MAX_AXES} axes",
            received=len(axes),
            fix="Write an axis like alpha = 0, 0.5, 1.",
        )
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RecipeError(f'two axes set "{twice}"', fix="Remove one of them.")
    count = math.prod(len(axis) for axis in axes)
    if count > MAX_CELLS:
        raise RecipeError(
            "grid", expected=f"at most {MAX_CELLS} cells", received=count, fix="Use fewer values."
        )
    return Grid(axes, tuple(_cells(axes, Setting(recipe))))


def split_phrase(text: str) -> tuple[str, str, str]:
    """At the first `=` outside brackets: a layer pattern may be in them."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "=" and depth <= 0:
            return text[:place], "=", text[place + 1 :]
    return text, "", ""


def _cells(axes: Sequence[Axis], start: Setting) -> Iterator[Cell]:
    outer = sorted(range(len(axes)), key=lambda i: -axes[i].target.cost)
    for walk in _snake([len(axes[i]) for i in outer]):
        place = tuple(walk[outer.index(i)] for i in range(len(axes)))
        setting = start
        # a method resets its options: it is set before an option of it
        for i in outer:
            setting = axes[i].target.apply(setting, axes[i].values[place[i]])
        labels = tuple(axis.labels[at] for axis, at in zip(axes, place, strict=True))
        yield Cell(place, labels, setting)


def _snake(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All places of a box; two that follow each other are neighbors on one axis."""
    for walk in itertools.product(*(range(size) for size in sizes)):
        place, turned = [], 0
        for index, size in zip(walk, sizes, strict=True):
            place.append(size - 1 - index if turned % 2 else index)
            turned = turned * size + index
        yield tuple(place)
