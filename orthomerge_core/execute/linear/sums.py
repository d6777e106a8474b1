"""The protocol of a linear merge: Gram of the rows, coefficients, then the sum W = B + Σ c_i δ_i.

`worker` takes the three steps in this order; the method has the second. The first and the third
exist twice: `floats` for any dtypes, `half` for tensors that all files hold in one 16-bit dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ...concurrency.pool import Tick
from ...shapes import Float64
from ..output.tensor_writer import TensorOut
from ..plan.model import TensorPlan

__all__ = ["LinearSum", "Sums", "shared"]


@dataclass(frozen=True)
class LinearSum:
    """What is added to the base in one tensor.

    `rows` act; `coefficients` are those of all rows of the recipe; `texture` is (alpha, model,
    parent) or None; `missing` are the rows that are not finite here, of which only what is finite
    is measured. `gram_known`: of the Gram only the products with W − B are asked for.
    """

    rows: Sequence[int]
    coefficients: Sequence[float]
    texture: tuple[float, int, int] | None = None
    missing: tuple[int, ...] = ()
    gram_known: bool = False


class Sums(Protocol):
    """Grams and sums of one thread, in its own memory."""

    def gram(self, tensor: TensorPlan, tick: Tick) -> Float64[Tensor, "rows rows"] | None:
        """`BlockGram` of all rows; None where these sums do not fit the tensor."""

    def add_up(
        self, tensor: TensorPlan, what: LinearSum, out: TensorOut, tick: Tick
    ) -> tuple[Float64[Tensor, "s s"], Float64[Tensor, "s"]] | None:
        """Store W = B + Σ c_i δ_i.

        Returns: the Gram of [δ_1 … δ_rows, W − B], and the products of the rounding error with the
        rows and itself. None, with part of it stored, where a value is not finite.
        """


def shared(tick: Tick, share: float) -> Tick:
    """`tick` of a share of the work."""
    return lambda amount: tick(share * amount)
