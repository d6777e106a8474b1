"""A checked merge: its rows, its tensors, and how many bytes they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ...io.closing import Closing
from ...io.dtypes import dtype_of, n_bytes_of
from ...keys.aligned import AlignedModel, AlignedSet
from ...methods.contract import LinearMethod, Method
from ...recipe.layers import LayerWeights
from ...recipe.model import Recipe, Row
from .cost import Estimate, Need, Workload, estimate, need_of
from .prediction import Markers
from .storage import Stored

__all__ = ["Plan", "PlanRow", "TensorPlan"]


@dataclass(frozen=True)
class PlanRow:
    """An active row; `model` and `parent` are places in `Plan.models`, −1 is the base."""

    row: Row
    label: str
    model: int
    parent: int
    layers: LayerWeights


@dataclass(frozen=True)
class TensorPlan:
    """One canonical tensor; `name` is what the result calls it.

    `alphas` [rows] are α_i · layer weight, 0 where a row does not act. `read_bytes` are stored in
    the base and in every model that is merged. A tensor that is `copied` is not merged: it is the
    base's, or that of the model which gives the VAE.
    """

    key: str
    block: str
    shape: tuple[int, ...]
    numel: int
    alphas: tuple[float, ...]
    stored: Stored
    read_bytes: int = 0
    name: str = ""
    copied: bool = False

    def __post_init__(self) -> None:
        """Without another name it keeps its canonical one."""
        if not self.name:
            object.__setattr__(self, "name", self.key)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the numbers that are stored under `name`."""
        return self.stored.shape(self.shape)

    @property
    def acting_rows(self) -> list[int]:
        """Indices of the rows whose weight on this tensor is not zero."""
        return [i for i, alpha in enumerate(self.alphas) if alpha != 0.0]


@dataclass(frozen=True)
class Plan(Closing):
    """A checked merge with its sources open; a context manager that closes them.

    `recipe` has every option filled in and the output dtype settled. `models` are those that the
    merge reads. `rows` are the active ones. `texture` is (alpha, model, parent) with indices as in
    `PlanRow`, or None. `target` is the file to be written, None for a merge in memory. `notes` are
    sentences for people that stop nothing; `messages` are those of them that can be worded in
    other languages (`Message.to_json`). `names`: canonical key → name in the result, in its
    order;
    empty where the result is a diffusion model, which keeps the canonical keys. `vae`: the model
    whose VAE is taken whole. `markers`: what the result predicts. `paths`: the sources' files.
    `pace`: how many times as long as stated this method takes on this machine.
    """

    recipe: Recipe
    aligned: AlignedSet
    method: Method
    options: Mapping[str, Any]
    models: tuple[AlignedModel, ...]
    rows: tuple[PlanRow, ...]
    texture: tuple[float, int, int] | None
    tensors: tuple[TensorPlan, ...]
    target: Path | None = None
    overwrite: bool = False
    notes: tuple[str, ...] = field(default=())
    messages: tuple[dict[str, Any], ...] = field(default=())
    names: Mapping[str, str] = field(default_factory=dict)
    vae: AlignedModel | None = None
    markers: Markers = field(default_factory=Markers)
    paths: Mapping[str, Path] = field(default_factory=dict, repr=False)
    pace: float = 1.0

    @property
    def is_checkpoint(self) -> bool:
        """Whether the result is a checkpoint, with all components of the base."""
        return bool(self.names)

    @property
    def layout_name(self) -> str:
        """ "checkpoint" or "diffusion"."""
        return "checkpoint" if self.is_checkpoint else "diffusion"

    @cached_property
    def passthrough(self) -> Mapping[str, str]:
        """Name in the result → the base's canonical key, of what is copied byte for byte."""
        kept = (key for key in self.aligned.passthrough if key not in self.markers.dropped)
        return {self.names.get(key, key): key for key in kept}

    def acts_on(self, tensor: TensorPlan) -> bool:
        """Whether anything may change this tensor."""
        return not tensor.copied and (self.texture is not None or any(tensor.alphas))

    def has_own_rows(self) -> bool:
        """Whether row i's delta is D_i of model i, so that nothing need be subtracted or copied."""
        return len(self.rows) == len(self.models) and all(
            row.model == i and row.parent < 0 for i, row in enumerate(self.rows)
        )

    def sources(self) -> tuple[AlignedModel, ...]:
        """The base and the models, in this order."""
        own = () if self.vae is None or any(self.vae is m for m in self.models) else (self.vae,)
        return (self.aligned.base, *self.models, *own)

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name → (dtype, shape) of the result, scales and markers of quantized layers included."""
        found: dict[str, Mapping[str, tuple[str, tuple[int, ...]]]] = {}
        for tensor in self.tensors:
            found[tensor.name] = tensor.stored.announced(tensor.name, tensor.shape)
        for name, key in self.passthrough.items():
            found[name] = {name: (self.aligned.base.entry(key).dtype, self.aligned.shapes[key])}
        out: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name in [n for n in self.names.values() if n in found] or found:
            out |= found[name]
        for name, added in self.markers.added.items():
            out[name] = (dtype_of(added.dtype), tuple(added.shape))
        return out

    @cached_property
    def read_bytes(self) -> int:
        """Stored bytes that the merge reads, once."""
        passthrough = sum(self.aligned.base.entry(key).n_bytes for key in self.passthrough.values())
        return passthrough + sum(tensor.read_bytes for tensor in self.tensors)

    @cached_property
    def output_bytes(self) -> int:
        """Bytes of the result's tensors."""
        return sum(n_bytes_of(dtype, shape) or 0 for dtype, shape in self.layout().values())

    def need(self, tensor: TensorPlan) -> Need:
        """What a tensor needs that is merged whole: base, models, rows, the method's memory."""
        buffers = len(self.models) + 2 + (0 if self.has_own_rows() else len(self.rows) + 1)
        acting = sum(self.rows[i].row.repeat for i in tensor.acting_rows)
        return need_of(self.method, tensor.shape, acting, buffers)

    @cached_property
    def estimate(self) -> Estimate:
        """What the merge will need on this machine."""
        return self.stated.at_pace(self.pace)

    @cached_property
    def stated(self) -> Estimate:
        """What the merge will need, in seconds of a common desktop computer."""
        acting = [t for t in self.tensors if self.acts_on(t)]
        rows = len(self.rows)
        return estimate(
            Workload(
                method=self.method,
                rows=rows,
                buffers=len(self.models)
                + (3 if self.has_own_rows() else rows + 4)
                + (self.texture is not None),
                read_bytes=self.read_bytes,
                output_bytes=self.output_bytes,
                shapes=tuple(t.shape for t in self.tensors if any(t.alphas)),
                tensors=len(self.tensors),
                largest=max((t.numel for t in acting), default=0),
                largest_scaled=max((t.numel for t in self.tensors if t.stored.scheme), default=0),
                rounds=any(t.stored.dtype != "F32" for t in acting),
                wholes=()
                if isinstance(self.method, LinearMethod)
                else tuple(self.need(t) for t in acting),
                target=self.target,
            )
        )

    def to_json(self) -> dict[str, Any]:
        """What a dry run shows."""
        return {
            "method": self.recipe.method,
            "options": dict(self.options),
            "output_dtype": self.recipe.output_dtype,
            "architecture": self.aligned.architecture.name,
            "layout": self.layout_name,
            "components": list(self.aligned.components),
            "prediction": self.markers.words,
            "rows": [row.label for row in self.rows],
            "tensors": len(self.tensors),
            "estimate": self.estimate.to_json(),
            "notes": list(self.notes),
        }

    def close(self) -> None:
        """Close every source."""
        self.aligned.close()
        if self.vae is not None:
            self.vae.source.close()
