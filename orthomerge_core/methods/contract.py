"""What a merge method is. One file per method; registration by decorator; see `registry`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import RecipeError, did_you_mean
from ..linalg.block_gram import block_gram
from ..params import Param

__all__ = ["DecomposedMethod", "LinearMethod", "Method", "Rows", "Space"]


class Space(Enum):
    """What a tensor means: a model's weights, or a difference of weights."""

    WEIGHT = "weight"
    DELTA = "delta"


@dataclass(frozen=True)
class Rows:
    """The rows that act on one tensor: those with alpha ≠ 0, layer weight ≠ 0 and a delta ≠ 0.

    deltas: float32, each of the base's shape. alphas: α_i · layer weight, all ≠ 0. repeats: 1..3.
    All three are in the recipe's order and of equal length ≥ 1.
    """

    deltas: Sequence[Tensor]
    alphas: Sequence[float]
    repeats: Sequence[int]

    def __len__(self) -> int:
        return len(self.deltas)


class Method(ABC):
    """A merge of one tensor. Pure: no files, no keys, no device choice, arguments never changed.

    `name` is the field's standard term; `label` and `summary` are for people; `space` is that of
    the inputs. `max_rows` limits active rows of the whole recipe (slerp: 1).
    `reference`: the paper or formula it was written from.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str] = ""
    params: ClassVar[tuple[Param, ...]] = ()
    space: ClassVar[Space] = Space.DELTA
    max_rows: ClassVar[int | None] = None
    order_matters: ClassVar[bool] = False

    @abstractmethod
    def merge(
        self, base: Tensor, rows: Rows, options: Mapping[str, Any], generator: torch.Generator
    ) -> Tensor:
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

    def flops(self, shape: tuple[int, ...], rows: int) -> float:
        """Rough cost of one tensor, for the plan's estimate of time."""
        return 4.0 * rows * float(torch.Size(shape).numel())


class LinearMethod(Method):
    """W = B + Σ c_i δ_i with coefficients that depend on the deltas only through their Gram.

    The executor streams these chunk by chunk, and the forecast is exact for them.
    """

    needs_gram: ClassVar[bool] = False

    @abstractmethod
    def coefficients(
        self,
        gram: Tensor,
        alphas: Sequence[float],
        repeats: Sequence[int],
        options: Mapping[str, Any],
    ) -> Tensor:
        """c [rows] float64 from gram [rows, rows] float64 = ⟨δ_i, δ_j⟩ of this tensor.

        Where `needs_gram` is False, `gram` may be any tensor of that shape and is not looked at.
        """

    def merge(
        self, base: Tensor, rows: Rows, options: Mapping[str, Any], generator: torch.Generator
    ) -> Tensor:
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
        base: Tensor,
        deltas: Sequence[Tensor],
        options: Mapping[str, Any],
        device: torch.device | str | None = None,
    ) -> dict[str, Tensor]:
        """Alpha-free parts of one tensor; `device` None means the base's."""

    @abstractmethod
    def compose(
        self, base: Tensor, rows: Rows, parts: Mapping[str, Tensor], options: Mapping[str, Any]
    ) -> Tensor:
        """The merged tensor from parts of the same base and the same deltas in the same order."""

    def plain_reason(self, parts: Mapping[str, Tensor]) -> str:
        """Why this tensor is merged by the simple rule instead, or "" where it is not."""
        return ""

    def merge(
        self, base: Tensor, rows: Rows, options: Mapping[str, Any], generator: torch.Generator
    ) -> Tensor:
        """`compose` of `decompose`."""
        parts = self.decompose(base, rows.deltas, options)
        return self.compose(base, rows, parts, options)
