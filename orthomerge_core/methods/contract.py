"""The interface of a merge method. One file per method, registered by a decorator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import RecipeError, did_you_mean
from ..linalg.block_gram import block_gram
from ..params import Param
from ..shapes import Float32, Float64, Shaped
from .forecast_rule import Floats, ForecastRule, GramRows, Shares

__all__ = ["DecomposedMethod", "LinearMethod", "Method", "Rows"]


@dataclass(frozen=True)
class Rows:
    """The rows that act on one tensor: those with alpha ≠ 0, layer weight ≠ 0 and a delta ≠ 0.

    deltas: float32, each of the base's shape. alphas: α_i · layer weight, all ≠ 0. repeats: 1..3.
    All three are in the recipe's order and of equal length ≥ 1. origins: P_i − B of each row, None
    where P_i is the base; empty where every P_i is, or where the method does not ask for them.
    """

    deltas: Sequence[Float32[Tensor, "*shape"]]
    alphas: Sequence[float]
    repeats: Sequence[int]
    origins: Sequence[Float32[Tensor, "*shape"] | None] = ()

    def __len__(self) -> int:
        return len(self.deltas)


class Method(ABC):
    """A merge of one tensor. Pure: no files, no keys, no device choice, arguments never changed.

    A method states everything about itself; nothing about it stands in any other file.

    name: the field's standard term, stored in recipes. label, summary: for people. reference: the
    paper or formula it was written from. params: its options. max_rows: most active rows of the
    whole recipe (slerp: 1). order_matters: whether the order of rows changes the result.
    averages: whether weights are divided by Σ r_i over the rows that act on a tensor; where an
    option decides, (option, value) with the value for which they are. forecast: how distances
    between models tell its result, None where they do not. neutral: options, beside the defaults,
    with which one row at full strength is its model; None where no options are. needs_origins:
    whether `Rows.origins` are to be filled in. continuous: whether a small alpha is a small change.
    flops_per_value: rough cost of a value and row, see `flops`.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str] = ""
    params: ClassVar[tuple[Param, ...]] = ()
    max_rows: ClassVar[int | None] = None
    order_matters: ClassVar[bool] = False
    averages: ClassVar[bool | tuple[str, Any]] = False
    forecast: ClassVar[ForecastRule | None] = None
    neutral: ClassVar[Mapping[str, Any] | None] = MappingProxyType({})
    needs_origins: ClassVar[bool] = False
    continuous: ClassVar[bool] = True
    flops_per_value: ClassVar[float] = 4.0

    @abstractmethod
    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """Merged float32 tensor of the base's shape, a new tensor on the base's device."""

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults filled in; unknown names and invalid values raise `RecipeError`."""
        known = {p.name: p for p in self.params}
        for name in options:
            if name not in known:
                raise RecipeError(
                    f'unknown option "{name}" of method {self.name}',
                    fix=did_you_mean(name, tuple(known)) if known else "It has no options.",
                )
        return {n: p.check(options[n]) if n in options else p.default for n, p in known.items()}

    def new_options(self) -> dict[str, Any]:
        """Options that a new mix states: those whose suggestion differs from the default."""
        return {p.name: p.suggested for p in self.params if p.suggested is not None}

    def averages_with(self, options: Mapping[str, Any]) -> bool:
        """Whether weights are divided by Σ r_i under these complete options."""
        if isinstance(self.averages, bool):
            return self.averages
        option, value = self.averages
        return bool(options[option] == value)

    def nominal_weights(self, rows: GramRows, options: Mapping[str, Any]) -> Floats:
        """What the table says of each row, before rows meet: r_i α_i, or r_i α_i / Σ r_i."""
        return rows.mean if self.averages_with(options) else rows.total

    def shares(self, rows: GramRows, options: Mapping[str, Any]) -> Shares:
        """How the rows of one tensor are merged, see `forecast_rule`; needs a `forecast`.

        `options` are complete. This one: nominal weights, times the gain of `forecast`.
        """
        gain = self.forecast.gain(options) if self.forecast else 1.0
        return [(1.0, gain * self.nominal_weights(rows, options))]

    def to_json(self) -> dict[str, Any]:
        """All that the method states, as plain JSON for the browser."""
        return {
            "label": self.label,
            "summary": self.summary,
            "max_rows": self.max_rows,
            "order_matters": self.order_matters,
            "averages": self.averages if isinstance(self.averages, bool) else list(self.averages),
            "forecast": self.forecast.to_json() if self.forecast else None,
            "params": [param.to_json() for param in self.params],
        }

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """Rough cost of one tensor on one thread, for the plan's estimate of time.

        In operations of which a common processor does 4e10 a second on all its cores.
        """
        return self.flops_per_value * rows * float(torch.Size(shape).numel())

    def work_bytes(self, shape: tuple[int, ...], rows: int) -> int:
        """Most bytes that a merge of one tensor holds beside base and deltas, its result included.

        `rows` counts a row as often as it repeats. For the plan's estimate of memory; nine copies
        of the tensor where a method does not say.
        """
        return 36 * torch.Size(shape).numel()


class LinearMethod(Method):
    """W = B + Σ c_i δ_i with coefficients that depend on the deltas only through their Gram.

    The executor streams these chunk by chunk, and the forecast is exact for them.
    """

    needs_gram: ClassVar[bool] = False
    forecast: ClassVar[ForecastRule | None] = ForecastRule(exact=True)

    @abstractmethod
    def coefficients(
        self,
        gram: Float64[Tensor, "rows rows"],
        alphas: Sequence[float],
        repeats: Sequence[int],
        options: Mapping[str, Any],
    ) -> Float64[Tensor, "rows"]:
        """c [rows] float64 from gram [rows, rows] float64 = ⟨δ_i, δ_j⟩ of this tensor.

        Where `needs_gram` is False, `gram` may be any tensor of that shape and is not looked at.
        """

    def shares(self, rows: GramRows, options: Mapping[str, Any]) -> Shares:
        """The one share (1, c)."""
        gram, repeats = torch.from_numpy(rows.gram), [int(r) for r in rows.repeats]
        found = self.coefficients(gram, rows.alphas.tolist(), repeats, options)
        return [(1.0, found.numpy())]

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """B + Σ c_i δ_i in float32, rounded where the executor rounds: rows are added in order, the
        base last."""
        count = len(rows)
        gram = torch.zeros(count, count, dtype=torch.float64)
        if self.needs_gram:
            gram = block_gram(rows.deltas)
        weights = self.coefficients(gram, rows.alphas, rows.repeats, options)
        total = torch.zeros_like(base)
        for delta, weight in zip(rows.deltas, weights.tolist(), strict=True):
            total.add_(delta, alpha=weight)
        return total.add_(base)


class DecomposedMethod(Method):
    """A method whose costly half does not depend on alpha, repeat or layer weights.

    `decompose` is that half. Its parts may be kept (on disk, under the content of base and deltas
    and the options named in `decompose_params`); `compose` finishes from them.
    """

    decompose_params: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def decompose(
        self,
        base: Float32[Tensor, "*shape"],
        deltas: Sequence[Float32[Tensor, "*shape"]],
        options: Mapping[str, Any],
        device: torch.device | str | None = None,
    ) -> dict[str, Shaped[Tensor, "..."]]:
        """Alpha-free parts of one tensor; `device` None means the base's."""

    @abstractmethod
    def compose(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        parts: Mapping[str, Shaped[Tensor, "..."]],
        options: Mapping[str, Any],
    ) -> Float32[Tensor, "*shape"]:
        """The merged tensor from parts of the same base and the same deltas in the same order."""

    def plain_reason(self, parts: Mapping[str, Shaped[Tensor, "..."]]) -> str:
        """Why this tensor is merged by the simple rule instead, or "" where it is not."""
        return ""

    def merge(
        self,
        base: Float32[Tensor, "*shape"],
        rows: Rows,
        options: Mapping[str, Any],
        generator: torch.Generator,
    ) -> Float32[Tensor, "*shape"]:
        """`compose` of `decompose`."""
        parts = self.decompose(base, rows.deltas, options)
        return self.compose(base, rows, parts, options)
