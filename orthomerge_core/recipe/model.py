"""Everything that decides a merge, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ALPHA_LIMIT",
    "BASE",
    "COMPONENTS",
    "DEFAULT_METHOD",
    "MAX_ROWS",
    "MERGE",
    "OUTPUT_DTYPES",
    "PREDICTIONS",
    "SCHEMA_VERSION",
    "ModelRef",
    "Recipe",
    "Row",
    "TextureBoost",
    "VaeChoice",
]

BASE = "base"
"""The reserved name of the base in `delta_from`, `vae` and `prediction`."""

MERGE = "merge"
"""In `vae`: merge the VAEs by the rows' alphas."""

COMPONENTS = ("base", "diffusion")
"""What is merged: the components that the base has, or its diffusion model alone."""

PREDICTIONS = ("base", "epsilon", "v", "v+ztsnr")
"""What the result predicts, beside the name of a model that is to decide."""

DEFAULT_METHOD = "orthogonal_projection"
"""What a new mix starts with: of two to five models it shows about as much as plain addition and
more of the prompt is right, where averaging methods keep 1/N of each change and show next to none
(`benchmarks/quality.py`). A recipe that names no method is read as `orthomerge`, as ever."""

SCHEMA_VERSION = 1
MAX_ROWS = 256
ALPHA_LIMIT = 5.0
OUTPUT_DTYPES = (
    "base",
    "bf16",
    "fp16",
    "fp32",
    "fp8_e4m3fn",
    "mxfp8",
    "nvfp4",
    "int8_tensorwise",
    "int8_rowwise",
    "int8_convrot",
    "gguf_q8_0",
    "gguf_q5_1",
    "gguf_q5_0",
    "gguf_q4_1",
    "gguf_q4_0",
)


@dataclass(frozen=True)
class Row:
    """One row of the table: add repeat × alpha × (model − delta_from).

    `alpha` is any finite number in −5..5, `repeat` 1..3, `layers` the text of `recipe.layers`.
    `text` is the alpha of the text encoders: None for `alpha`, one number, or two, of which the
    second is encoder G's and the first is every other encoder's.
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
    text: float | tuple[float, float] | None = None

    @property
    def active(self) -> bool:
        """Whether the row takes part in the merge."""
        texts = self.text if isinstance(self.text, tuple) else (self.text or 0.0,)
        return self.enabled and any(alpha != 0.0 for alpha in (self.alpha, *texts))

    def alpha_in(self, component: str) -> float:
        """The alpha that counts in a component; see `keys.components`."""
        if self.text is None or not component.startswith("text_encoder."):
            return self.alpha
        if isinstance(self.text, tuple):
            return self.text[1] if component == "text_encoder.g" else self.text[0]
        return self.text


@dataclass(frozen=True)
class ModelRef:
    """Where a recipe's model comes from: a file name (no path), and its content hash once known.

    `block_map`: which of its blocks stand for which of the base's, where the depths differ.
    `live`: it was a MODEL of a running ComfyUI, so that no file can stand in for it.
    """

    file: str
    content_hash: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    block_map: str = ""
    live: bool = False


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
class VaeChoice:
    """Where the VAE comes from: "base", "merge", the name of a model, or a file's name.

    `content_hash` is the file's, once known.
    """

    source: str = BASE
    content_hash: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A merge. Same recipe and same files = same bytes.

    `strength` scales the whole merged change W − B: 0 is the base, 1 is what the rows say.
    `components` is one of `COMPONENTS`. `prediction` is one of `PREDICTIONS`, the name of a model,
    or None: as the base, and an error where the models do not agree.
    """

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
    components: str = COMPONENTS[0]
    vae: VaeChoice = VaeChoice()
    prediction: str | None = None
    strength: float = 1.0

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
        names.update(dict.fromkeys(self.chosen_models()))
        return tuple(name for name in names if name != BASE)

    def chosen_models(self) -> tuple[str, ...]:
        """Names of the models that give the VAE or decide the prediction."""
        asked = (self.vae.source if self.merges_parts else BASE, self.prediction)
        return tuple(name for name in asked if name is not None and name in self.models)

    @property
    def merges_parts(self) -> bool:
        """Whether text encoders and VAE are part of the merge."""
        return self.components == COMPONENTS[0]

    @property
    def vae_file(self) -> str | None:
        """The name of the file that gives the VAE, if a file does."""
        source = self.vae.source
        known = source in (BASE, MERGE) or source in self.models
        return None if known or not self.merges_parts else source

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
