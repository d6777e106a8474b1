"""Everything that decides a merge, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ALPHA_LIMIT",
    "BASE",
    "MAX_ROWS",
    "OUTPUT_DTYPES",
    "SCHEMA_VERSION",
    "ModelRef",
    "Recipe",
    "Row",
    "TextureBoost",
]

BASE = "base"
"""The reserved name of the base in `delta_from`."""

SCHEMA_VERSION = 1
MAX_ROWS = 256
ALPHA_LIMIT = 5.0
OUTPUT_DTYPES = ("base", "bf16", "fp16", "fp32", "fp8_e4m3fn")


@dataclass(frozen=True)
class Row:
    """One row of the table: add repeat × alpha × (model − delta_from).

    `alpha` is any finite number in −5..5, `repeat` 1..3, `layers` the text of `recipe.layers`.
    `info` is words for people and decides nothing. `extra` keeps fields this version does not know.
    """

    model: str
    delta_from: str = BASE
    alpha: float = 1.0
    enabled: bool = True
    repeat: int = 1
    layers: str = ""
    info: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the row takes part in the merge."""
        return self.enabled and self.alpha != 0.0


@dataclass(frozen=True)
class ModelRef:
    """Where a recipe's model comes from: a file name (no path), and its content hash once known."""

    file: str
    content_hash: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TextureBoost:
    """Add alpha × (model − its delta base) after the method; alpha 0..0.5, 0 or no model = off."""

    model: str | None = None
    alpha: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether it changes the result."""
        return self.model is not None and self.alpha != 0.0


@dataclass(frozen=True)
class Recipe:
    """A merge. Same recipe and same files = same bytes."""

    base: str
    models: Mapping[str, ModelRef]
    rows: tuple[Row, ...]
    method: str = "orthomerge"
    options: Mapping[str, Any] = field(default_factory=dict)
    texture_boost: TextureBoost = TextureBoost()
    output_dtype: str = "base"
    architecture: str = "auto"
    repairs: Mapping[str, bool] = field(default_factory=dict)
    base_hash: str | None = None
    schema_version: int = SCHEMA_VERSION
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def active_rows(self) -> tuple[Row, ...]:
        """Enabled rows with alpha ≠ 0, in order."""
        return tuple(row for row in self.rows if row.active)

    def used_models(self) -> tuple[str, ...]:
        """Names of the models that the merge reads, without the base, in order of first use."""
        names: dict[str, None] = {}
        for row in self.active_rows:
            names.update({row.model: None, row.delta_from: None})
        if self.texture_boost.active:
            names.update({str(self.texture_boost.model): None, self.texture_parent(): None})
        return tuple(name for name in names if name != BASE)

    def labels(self) -> tuple[str, ...]:
        """One name per active row for people: the model's, with `#2` from its second row on."""
        models = {row.model for row in self.active_rows}
        labels: dict[str, None] = {}
        for row in self.active_rows:
            label, number = row.model, 1
            while label in labels or (number > 1 and label in models):
                number += 1
                label = f"{row.model} #{number}"
            labels[label] = None
        return tuple(labels)

    def texture_parent(self) -> str:
        """The delta base of the texture boost's model: that of its first row, else the base."""
        for row in self.rows:
            if row.model == self.texture_boost.model:
                return row.delta_from
        return BASE
