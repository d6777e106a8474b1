"""How much of each row is in the result, measured while merging."""

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
    """Sums per block the Gram of [δ_1 … δ_R, Δ] with Δ = W − B, in float32 before the output cast.

    `labels` name the rows. All shares are plain numbers; a row without a delta has none (NaN in the
    arrays, None in JSON). Without a block or a component named, a figure is the diffusion model's:
    components are never summed together.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._blocks: dict[str, Floats] = {}
        self.rounding_energy = 0.0

    def add(self, block: str, gram: Float64[Tensor, "r r"]) -> None:
        """Add one tensor's Gram, [rows + 1, rows + 1]."""
        values = gram.numpy()
        if block in self._blocks:
            self._blocks[block] += values
        else:
            self._blocks[block] = values.copy()

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
    def blocks(self) -> tuple[str, ...]:
        """Blocks in the order in which they came."""
        return tuple(self._blocks)

    def shares(self, block: str | None = None) -> Floats:
        """⟨W − B, δ_i⟩ / ‖δ_i‖² per row, over everything or one block; NaN where δ_i is zero."""
        return _shares(self.gram if block is None else self._blocks[block])

    def by_component(self) -> dict[str, dict[str, float | None]]:
        """component → label → share."""
        return {name: self.named(_shares(self.gram_of(name))) for name in self.components}

    def leave_one_out(self) -> Floats:
        """Share of ‖Δ‖² that only row i explains: R² of Δ on all rows minus R² without row i.

        0: others bring all of it too; 1: it alone makes the result. NaN where Δ is zero.
        """
        gram = self.gram
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
        return float(np.sqrt(self.rounding_energy / energy)) if energy > 0 else 0.0

    def by_block(self) -> dict[str, dict[str, float | None]]:
        """label → block → share."""
        shares = {block: self.shares(block) for block in self.blocks}
        return {
            label: {block: _number(values[i]) for block, values in shares.items()}
            for i, label in enumerate(self.labels)
        }

    def named(self, values: Floats) -> dict[str, float | None]:
        """label → value; None for NaN."""
        return {label: _number(v) for label, v in zip(self.labels, values, strict=True)}


def _shares(gram: Floats) -> Floats:
    norms = np.diag(gram)[:-1]
    safe = np.where(norms > 0, norms, 1.0)
    return np.where(norms > 0, gram[-1, :-1] / safe, np.nan)


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
