"""Migrates recipes of older schema versions, one version at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import RecipeError
from . import fields as f
from .model import SCHEMA_VERSION

__all__ = ["MIGRATIONS", "migrate"]

MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema version → function that turns its JSON into the next version's. None is needed yet."""


def migrate(
    obj: Mapping[str, Any],
    migrations: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = MIGRATIONS,
    newest: int = SCHEMA_VERSION,
) -> dict[str, Any]:
    """Lift JSON of an older schema version, step by step; no version means the newest."""
    data = dict(obj)
    version = f.integer(data.get("schema_version", newest), "schema_version", 0, 10**6)
    if version > newest:
        raise RecipeError(
            "recipe is of a newer schema version",
            expected=f"at most {newest}",
            received=version,
            fix="Update OrthoMerge Studio.",
        )
    for step in range(version, newest):
        if step not in migrations:
            raise RecipeError(
                "recipe is of an unknown schema version",
                expected=newest,
                received=version,
                fix="Write the recipe again with this version.",
            )
        data = migrations[step](data)
    return data | {"schema_version": newest}
