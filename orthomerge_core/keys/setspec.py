"""Which files make a set, before any is opened: what travels between nodes and to the shell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..io.source import Source

__all__ = ["ModelSpec", "Repairs", "SetSpec"]


@dataclass(frozen=True)
class Repairs:
    """Which repairs the reader may apply. All are on by default; none touches a file.

    strip_text_encoder / strip_vae: leave CLIP/T5 and VAE keys of full checkpoints out.
    fix_prefixes: `model.diffusion_model.` and its kin. dequantise: quantised layers as float32.
    fix_norm_names: `.norm*.weight` against `.norm*.scale`. remap_diffusers: diffusers naming.
    skip_misfits: leave models below 50 % overlap, and unreadable ones, out instead of stopping.
    """

    strip_text_encoder: bool = True
    strip_vae: bool = True
    fix_prefixes: bool = True
    dequantise: bool = True
    fix_norm_names: bool = True
    remap_diffusers: bool = True
    skip_misfits: bool = True

    def to_json(self) -> dict[str, bool]:
        """Only what differs from the defaults."""
        return {k: v for k, v in vars(self).items() if v != getattr(Repairs, k)}


@dataclass(frozen=True)
class ModelSpec:
    """A model by name. `file` is what a recipe calls it; `path` is where it lies.

    A live source (a MODEL of ComfyUI) has `source` instead of `path`.
    """

    name: str
    file: str
    path: Path | None = field(default=None, repr=False)
    source: Source | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SetSpec:
    """A base, its models, and how to read them."""

    base: ModelSpec
    models: tuple[ModelSpec, ...]
    architecture: str = "auto"
    repairs: Repairs = Repairs()

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
            "models": {m.name: {"file": m.file} for m in self.models},
            "architecture": self.architecture,
            "repairs": self.repairs.to_json(),
        }
