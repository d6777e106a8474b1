"""Makes deltas orthogonal to each other, as coefficients that need only their Gram.

Every function returns T [rows, rows] with δ'_i = Σ_j T_ij δ_j.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..shapes import Float64

__all__ = ["dual", "sequential", "symmetric"]

_TINY = 1e-10


def sequential(gram: Float64[Tensor, "rows rows"]) -> Float64[Tensor, "rows rows"]:
    """Gram–Schmidt in row order: δ'_i = δ_i minus its projections on δ'_1 … δ'_{i−1}.

    A delta that lies in the span of the earlier ones (its rest holds less than 1e-10 of its energy)
    becomes zero. Lengths are not restored: a shared change is taken once, by the first that has it.
    """
    count = gram.shape[0]
    rows: list[Tensor] = []
    for i in range(count):
        v = torch.zeros(count, dtype=torch.float64)
        v[i] = 1.0
        for t in rows:
            energy = t @ gram @ t
            if energy > 0:
                v = v - (v @ gram @ t) / energy * t
        rest = float(v @ gram @ v)
        rows.append(v if rest > _TINY * float(gram[i, i]) else torch.zeros_like(v))
    return torch.stack(rows)


def symmetric(gram: Float64[Tensor, "rows rows"]) -> Float64[Tensor, "rows rows"]:
    """Order-free: each delta's projection on its own axis of the nearest orthonormal set.

    With u_i = δ_i/‖δ_i‖ and C their cosines, Q = U C^(−1/2) is the orthonormal set that moves the
    u_i least in total (Löwdin 1950), and δ'_i = ⟨q_i, δ_i⟩ q_i. In the span of dependent deltas the
    inverse root is the pseudo-inverse's, so N equal deltas become N equal shares of one.
    """
    norms, scale, values, vectors, keep = _spectrum(gram)
    inverse = torch.where(keep, values.clamp_min(_TINY).rsqrt(), torch.zeros_like(values))
    root = torch.where(keep, values.clamp_min(0).sqrt(), torch.zeros_like(values))
    axes = (vectors * inverse) @ vectors.T  # q_i = Σ_j axes_ij u_j
    onto = ((vectors * root) @ vectors.T).diagonal()  # ⟨q_i, u_i⟩
    return (onto * norms)[:, None] * axes * scale[None, :]


def dual(gram: Float64[Tensor, "rows rows"]) -> Float64[Tensor, "rows rows"]:
    """Order-free: ⟨δ'_i, δ_i⟩ = ‖δ_i‖² and ⟨δ'_i, δ_j⟩ = 0, so Σ w_i δ'_i keeps w_i of every row.

    δ'_i is ‖δ_i‖² times the dual (biorthogonal) basis of the δ: T = diag(G) G⁻¹. Among all changes
    that keep these shares theirs is the shortest. For dependent deltas the inverse is the
    pseudo-inverse's: shares that contradict each other are met in the mean, and N equal deltas
    become N equal shares of one. Nearly parallel deltas have long duals.
    """
    norms, scale, values, vectors, keep = _spectrum(gram)
    inverse = torch.where(keep, 1.0 / values.clamp_min(_TINY), torch.zeros_like(values))
    return norms[:, None] * ((vectors * inverse) @ vectors.T) * scale[None, :]


def _spectrum(gram: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(norms, their inverses or 0, eigenvalues and -vectors of the cosines, which are not 0)."""
    norms = gram.diagonal().clamp_min(0).sqrt()
    scale = torch.where(norms > 0, 1.0 / norms, torch.zeros_like(norms))
    values, vectors = torch.linalg.eigh(gram * scale[:, None] * scale[None, :])
    return norms, scale, values, vectors, values > _TINY * float(values[-1].clamp_min(1.0))
