"""Result of the streaming pass: sums per tensor, from which every figure is derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import AnalysisError
from ..keys.components import DIFFUSION, component_of
from ..keys.setspec import COMPONENTS, SetSpec
from .rounding import Rounding

__all__ = ["Analysis", "Spectrum"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one sampled matrix, for each model's base-relative delta.

    `energies` [models, ranks] float64: σ_k², descending; zeros for a model without a delta there.
    Neighbors may be averaged, never across an index that a figure depends on.
    """

    key: str
    energies: Floats


@dataclass(frozen=True)
class Analysis:
    """Raw sums of one pass over a base and N models. D_i = M_i − B.

    Axes: K keys, N models. Model order is that of `names`, everywhere.
    `gram` [K, N+1, N+1] float64, Gram of [B, D_1 … D_N] per tensor, of 13 significant digits.
    `active`, `conflict` [K, N, N] int64, symmetric: elements where both deltas are non-zero, and of
    those the ones of opposite sign; the diagonal of `active` counts each delta's non-zero elements.
    `max_abs` [K, N]: max |D_i|. `nonfinite` [K, N+1] int64: non-finite inputs (base first); such
    elements count as zero in every sum. `present` [K, N]: whether the model holds the key.
    `content_hashes`: "base" and each name → hash of its diffusion model. `reports`: what alignment
    found (`ModelReport.to_json`), one per model in order, then those of models left out of the set.
    `rounding`: what the stored formats round; None in an analysis from before that was measured.

    `repairs`, `scope`: how the files were read, as a recipe says it in `repairs` and `components`.

    Keys of text encoders and of the VAE stand beside those of the diffusion model. Components are
    never summed together: a figure without a component named is the diffusion model's.
    """

    base: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    architecture: str
    keys: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    blocks: tuple[str, ...]
    layer_types: tuple[str, ...]
    gram: Floats
    active: Counts
    conflict: Counts
    max_abs: Floats
    nonfinite: Counts
    present: NDArray[np.bool_]
    spectra: tuple[Spectrum, ...] = ()
    content_hashes: Mapping[str, str] = field(default_factory=dict)
    reports: tuple[Mapping[str, object], ...] = ()
    rounding: Rounding | None = None
    repairs: Mapping[str, bool] = field(default_factory=dict)
    scope: str = COMPONENTS[0]

    def read_as(self, spec: SetSpec) -> Analysis:
        """The same figures with a note of how the set's files were read."""
        scope = COMPONENTS[1] if spec.diffusion_only else COMPONENTS[0]
        return replace(self, repairs=spec.repairs.to_json(), scope=scope)

    def index(self, name: str) -> int:
        """Position of a model in every N axis."""
        if name not in self.names:
            raise AnalysisError(
                f'no model "{name}" in this analysis',
                expected="one of " + ", ".join(self.names),
                fix="Analyze the set again with that model in it.",
            )
        return self.names.index(name)

    @cached_property
    def component_of_key(self) -> tuple[str, ...]:
        """Per key the component that it belongs to [K]."""
        return tuple(component_of(key) for key in self.keys)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components that were measured, in the order of their keys."""
        return tuple(dict.fromkeys(self.component_of_key))

    def keys_in(self, component: str = DIFFUSION) -> NDArray[np.bool_]:
        """Which keys belong to a component [K]."""
        return np.asarray(self.component_of_key, dtype=np.str_) == component

    def delta_gram(self, mask: NDArray[np.bool_] | None = None) -> Floats:
        """Σ over keys of the Gram of [0, D_1 … D_N]: [N+1, N+1], the base's row is 0.

        Over the keys of `mask` [K]; without one, those of the diffusion model.

        Every ⟨M_a−M_b, M_c−M_d⟩ = h(a,c) − h(a,d) − h(b,c) + h(b,d) with h this matrix.
        """
        total: Floats = self.gram[self.keys_in() if mask is None else mask].sum(axis=0)
        total[0, :] = 0.0
        total[:, 0] = 0.0
        return total
