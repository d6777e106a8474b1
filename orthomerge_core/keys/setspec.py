"""The description of a set before any file is opened; it travels between nodes and to the shell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..io.source import Source

__all__ = ["COMPONENTS", "ModelSpec", "Repairs", "SetSpec"]

COMPONENTS = ("base", "diffusion")
"""What a set takes of checkpoints: the components that the base has, or its diffusion model."""


@dataclass(frozen=True)
class Repairs:
    """Which repairs the reader may apply; none touches a file.

    strip_text_encoder / strip_vae: from before components were merged; either of them leaves every
    component but the diffusion model out.
    fix_prefixes: `model.diffusion_model.` and its kin. dequantise: quantized layers as float32.
    fix_norm_names: `.norm*.weight` against `.norm*.scale`. remap_diffusers: diffusers naming.
    skip_misfits: leave models below 50 % overlap, and unreadable ones, out instead of stopping.
    use_ema: read the EMA copy of the diffusion model where a file has one; it is left out
    otherwise.
    """

    strip_text_encoder: bool = False
    strip_vae: bool = False
    fix_prefixes: bool = True
    dequantise: bool = True
    fix_norm_names: bool = True
    remap_diffusers: bool = True
    skip_misfits: bool = True
    use_ema: bool = False

    def to_json(self) -> dict[str, bool]:
        """Only what differs from the defaults."""
        return {k: v for k, v in vars(self).items() if v != getattr(Repairs, k)}


@dataclass(frozen=True)
class ModelSpec:
    """A model by name. `file` is what a recipe calls it; `path` is where it lies.

    A live source (a MODEL of ComfyUI) has `source` instead of `path`. `block_map`: which of its
    blocks stand for which of the base's (`keys.depth`), where the two differ in depth.
    """

    name: str
    file: str
    path: Path | None = field(default=None, repr=False)
    source: Source | None = field(default=None, repr=False)
    block_map: str = ""


@dataclass(frozen=True)
class SetSpec:
    """A base, its models, and how to read them.

    `components`: "base" takes the components that the base has, "diffusion" only the diffusion
    model. `vae`: a file that gives the VAE of the result.
    """

    base: ModelSpec
    models: tuple[ModelSpec, ...]
    architecture: str = "auto"
    repairs: Repairs = Repairs()
    components: str = COMPONENTS[0]
    vae: ModelSpec | None = None

    @property
    def diffusion_only(self) -> bool:
        """Whether text encoders and VAE are left out."""
        strips = self.repairs.strip_text_encoder or self.repairs.strip_vae
        return strips or self.components == "diffusion"

    def with_model(self, model: ModelSpec) -> SetSpec:
        """The set with one more model."""
        return replace(self, models=(*self.models, model))

    def names(self) -> tuple[str, ...]:
        """The models' names in order, without the base."""
        return tuple(m.name for m in self.models)

    def __repr__(self) -> str:
        return f"SetSpec(base={self.base.file!r}, models={list(self.names())!r})"

    def to_json(self) -> dict[str, Any]:
        """Names and files, no paths."""
        return {
            "base": self.base.file,
            "models": {
                m.name: {"file": m.file} | ({"block_map": m.block_map} if m.block_map else {})
                for m in self.models
            },
            "architecture": self.architecture,
            "repairs": self.repairs.to_json(),
            "components": "diffusion" if self.diffusion_only else "base",
        }
