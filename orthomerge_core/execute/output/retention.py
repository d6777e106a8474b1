"""Measures, while merging, how much of each row the result contains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...keys.components import DIFFUSION, component_of
from ...shapes import Float64

__all__ = ["Retention"]

Floats = NDArray[np.float64]


class Retention:
    """Sums per block the Gram of [δ_1 … δ_R, Δ] with Δ = W − B, in float32 before the output cast,
    and the products of the cast's rounding error e with the rows and itself: what is written is
    Δ + e.

    `labels` name the rows. All shares are plain numbers; a row without a delta has none (NaN in the
    arrays, None in JSON). Without a block or a component named, a figure is the diffusion model's:
    components are never summed together.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._blocks: dict[str, Floats] = {}
        self._errors: dict[str, Floats] = {}

    def add(
        self,
        block: str,
        gram: Float64[Tensor, "s s"],
        rounding: Float64[Tensor, "s"] | None = None,
    ) -> None:
        """Add one tensor's Gram and products of its rounding error; s is rows + 1."""
        if block not in self._blocks:
            size = len(self.labels) + 1
            self._blocks[block], self._errors[block] = np.zeros((size, size)), np.zeros(size)
        self._blocks[block] += gram.numpy()
        if rounding is not None:
            self._errors[block] += np.nan_to_num(rounding.numpy())

    @property
    def gram(self) -> Floats:
        """Sum over the diffusion model's blocks, [rows + 1, rows + 1]."""
        return self.gram_of(DIFFUSION)

    def gram_of(self, component: str) -> Floats:
        """Sum over the blocks of a component, [rows + 1, rows + 1]."""
        size = len(self.labels) + 1
        found = (g for block, g in self._blocks.items() if component_of(f"{block}.") == component)
        return sum(found, np.zeros((size, size)))

    @property
    def components(self) -> tuple[str, ...]:
        """Components that were measured, in the order in which they came."""
        return tuple(dict.fromkeys(component_of(f"{block}.") for block in self._blocks))

    @property
    def error(self) -> Floats:
        """Sum over the diffusion model's blocks of ⟨e, δ_i⟩ and, last, ‖e‖²."""
        return self.error_of(DIFFUSION)

    def error_of(self, component: str) -> Floats:
        """Sum over the blocks of a component of ⟨e, δ_i⟩ and, last, ‖e‖²."""
        found = (e for block, e in self._errors.items() if component_of(f"{block}.") == component)
        return sum(found, np.zeros(len(self.labels) + 1))

    @property
    def blocks(self) -> tuple[str, ...]:
        """Blocks in the order in which they came."""
        return tuple(self._blocks)

    def shares(self, block: str | None = None, *, written: bool = False) -> Floats:
        """⟨W − B, δ_i⟩ / ‖δ_i‖² per row, over everything or one block; NaN where δ_i is zero.

        `written`: of the stored weights, after the output cast, instead of W.
        """
        if block is None:
            return _shares(self.gram, self.error if written else None)
        return _shares(self._blocks[block], self._errors[block] if written else None)

    def by_component(self, *, written: bool = False) -> dict[str, dict[str, float | None]]:
        """component → label → share."""
        return {
            name: self.named(_shares(self.gram_of(name), self.error_of(name) if written else None))
            for name in self.components
        }

    def leave_one_out(self) -> Floats:
        """Share of ‖Δ‖² that only row i explains: R² of Δ on all rows minus R² without row i.

        0: others bring all of it too; 1: it alone makes the result. NaN where Δ is zero.
        """
        gram = _normalized(self.gram)
        count = len(self.labels)
        full = _explained(gram, list(range(count)))
        parts = [full - _explained(gram, [j for j in range(count) if j != i]) for i in range(count)]
        energy = gram[-1, -1]
        values = np.array(parts, dtype=np.float64)
        return np.clip(values / energy, 0.0, 1.0) if energy > 0 else np.full(count, np.nan)

    def delta_norm(self) -> float:
        """‖W − B‖."""
        return float(np.sqrt(self.gram[-1, -1]))

    def rounding_frac(self) -> float:
        """‖stored − W‖ / ‖W − B‖: what the output's rounding costs, as a share of the merge."""
        energy = float(self.gram[-1, -1])
        return float(np.sqrt(self.error[-1] / energy)) if energy > 0 else 0.0

    def by_block(self, *, written: bool = False) -> dict[str, dict[str, float | None]]:
        """label → block → share."""
        shares = {block: self.shares(block, written=written) for block in self.blocks}
        return {
            label: {block: _number(values[i]) for block, values in shares.items()}
            for i, label in enumerate(self.labels)
        }

    def named(self, values: Floats) -> dict[str, float | None]:
        """label → value; None for NaN."""
        return {label: _number(v) for label, v in zip(self.labels, values, strict=True)}


def _shares(gram: Floats, error: Floats | None = None) -> Floats:
    norms, products = np.diag(gram)[:-1], gram[-1, :-1]
    if error is not None:
        products = products + error[:-1]
    safe = np.where(norms > 0, norms, 1.0)
    return np.where(norms > 0, products / safe, np.nan)


def _normalized(gram: Floats) -> Floats:
    """Cosines instead of products: shares of energy stay, and no size is too large to solve."""
    norms = np.sqrt(np.diag(gram))
    norms = np.where(norms > 0, norms, 1.0)
    return gram / norms[:, None] / norms[None, :]


def _explained(gram: Floats, rows: list[int]) -> float:
    """‖projection of Δ on the span of these rows‖²."""
    if not rows:
        return 0.0
    inner = gram[np.ix_(rows, rows)]
    target = gram[rows, -1]
    solution = np.linalg.lstsq(inner, target, rcond=1e-10)[0]
    return float(target @ solution)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
