"""Rotations of one base towards several targets, in the eigenbasis of W0 W0ᵀ.

With W0 W0ᵀ + λI = V Λ Vᵀ and S = Vᵀ W0, the target of a delta δ is M = Λ + E, E = Vᵀ δ Sᵀ, in that
basis, and its rotation is polar(M). All tensors here are in the working frame: W0 and δ are [d, n]
with d the smaller side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float, Float32
from .lie import cayley_change, generator_of
from .polar import nearest_rotation

__all__ = ["Frame", "Workspace", "exact_rotation", "frame_of", "rotation_error", "small_rotation"]

_BLOCKS = 6
_PROBES = 8
_WEAK = 24


@dataclass(frozen=True)
class Frame:
    """The eigenbasis of one base. `values` [d] are Λ's: row energies of `coords` plus `damping`."""

    basis: Float32[Tensor, "d d"]
    coords: Float32[Tensor, "d n"]
    values: Float32[Tensor, "d"]
    damping: float
    deficient: bool


class Workspace:
    """Four d×d float32 buffers, and 1/(λ_j + λ_k), shared by all rows of a tensor."""

    def __init__(self, frame: Frame) -> None:
        d = len(frame.values)
        self.a, self.b, self.c = (torch.empty_like(frame.basis) for _ in range(3))
        sums = frame.values[:, None] + frame.values[None, :]
        self.inverse = torch.where(sums > 0, sums, torch.ones_like(sums)).reciprocal_()
        self.size = d


def frame_of(base: Float32[Tensor, "d n"], damping: float) -> Frame:
    """One eigendecomposition of W0 W0ᵀ; λ = damping · its mean eigenvalue.

    `deficient` is True where W0's smallest singular value is below 1e-6 of its largest.
    """
    _, basis = torch.linalg.eigh(_self_product(base))
    coords = basis.T @ base
    energy = coords.square().sum(dim=1)
    shift = damping * float(energy.double().mean())
    return Frame(basis, coords, energy + shift, shift, _deficient(base, basis, energy))


def small_rotation(
    frame: Frame, delta: Float32[Tensor, "d n"], work: Workspace
) -> tuple[Float32[Tensor, "d d"], Float32[Tensor, "d d"]]:
    """(X, P): the rotation's generator A = X/2 and the symmetric part P of R − I, to second order.

    X₁ = (E − Eᵀ)∘D, X₂ = −(F X₁ + X₁ F)∘D with F = (E + Eᵀ)/2 and D_jk = 1/(λ_j + λ_k); P = X²/2.
    Both live in `work` until its next use. Cost: four products (two d²n, two d³).
    """
    e, x, f = work.a, work.b, work.c
    _in_basis(frame, delta, out=e)
    torch.sub(e, e.T, out=x).mul_(work.inverse)
    torch.add(e, e.T, out=f).mul_(0.5)
    torch.mm(f, x, out=e)
    torch.sub(e, e.T, out=f).mul_(work.inverse)  # X₁ F = −(F X₁)ᵀ, so one product gives both terms
    x.sub_(f)
    _skew_square(x, out=e)
    return x, e.mul_(0.5)


def rotation_error(
    frame: Frame,
    delta: Float32[Tensor, "d n"],
    x: Float32[Tensor, "d d"],
    p: Float32[Tensor, "d d"],
) -> float:
    """How far (X, P) is from the polar rotation: an estimate of ‖ΔR W0‖ / ‖δ‖ from random probes.

    An error e of X leaves RᵀM − MᵀR = r with e_jk = r_jk/(λ_j + λ_k), so for Gaussian z
    ‖e Λ^½‖² ≤ ¼ Σ_j E (r z)_j²/λ_j: products with eight vectors bound it. The third order that P
    leaves out of the skew part, X P/2, is measured on W0 in the same way. Cost: 16 · 5 · d².
    """
    size = float(torch.linalg.vector_norm(delta))
    generator = torch.Generator(device="cpu").manual_seed(0)
    z = torch.randn(len(x), _PROBES, generator=generator).to(x.device)

    def target(v: Tensor, transposed: bool) -> Tensor:
        s = frame.coords
        left = delta.T @ (frame.basis @ v) if transposed else s.T @ v
        moved = s @ left if transposed else frame.basis.T @ (delta @ left)
        return s @ (s.T @ v) + frame.damping * v + moved

    def turn(v: Tensor, sign: float) -> Tensor:
        twice = p @ v
        return v + twice + sign * (x @ (v + 0.5 * twice))

    skew = turn(target(z, False), -1.0) - target(turn(z, 1.0), True)
    weak = skew.square() / frame.values.clamp_min(1e-30)[:, None]
    first = 0.25 * float(weak.sum()) / _PROBES
    w = torch.randn(frame.coords.shape[1], _PROBES, generator=generator).to(x.device)
    third = float((0.5 * (x @ (p @ (frame.coords @ w)))).square().sum()) / _PROBES
    error = (first + third) ** 0.5 / size if size > 0 else 0.0
    return error if error == error else float("inf")


def exact_rotation(
    frame: Frame, delta: Float32[Tensor, "d n"]
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """(A, R − I) in the frame's basis, float64: SVD of M, det +1, generator, R from it again."""
    s = frame.coords.double()
    m = s @ s.T + (frame.basis.double().T @ delta.double()) @ s.T
    m.diagonal().add_(frame.damping)
    generator = generator_of(nearest_rotation(m))
    return generator, cayley_change(generator)


def _in_basis(frame: Frame, delta: Tensor, out: Tensor) -> None:
    """E = Vᵀ δ Sᵀ, by whichever order of products is cheaper."""
    d, n = delta.shape
    if n <= 2 * d:
        torch.mm(frame.basis.T @ delta, frame.coords.T, out=out)
        return
    base = frame.basis @ frame.coords  # W0 again: cheaper than keeping it where n is large
    torch.mm(frame.basis.T @ (delta @ base.T), frame.basis, out=out)


def _self_product(w: Tensor) -> Tensor:
    """W Wᵀ, computing only the blocks on and above the diagonal."""
    d = len(w)
    out = torch.empty(d, d, dtype=w.dtype, device=w.device)
    for low, high in _spans(d):
        block = w[low:high] @ w[low:].T
        out[low:high, low:] = block
        out[high:, low:high] = block[:, high - low :].T
    return out


def _skew_square(x: Tensor, out: Tensor) -> None:
    """X² = −X Xᵀ for skew X, upper blocks only."""
    for low, high in _spans(len(x)):
        torch.mm(x[low:high], x[:, low:], out=out[low:high, low:])
        out[high:, low:high] = out[low:high, high:].T


def _spans(d: int) -> list[tuple[int, int]]:
    step = max(64, -(-d // _BLOCKS))
    return [(low, min(low + step, d)) for low in range(0, d, step)]


def _deficient(base: Tensor, basis: Tensor, energy: Tensor) -> bool:
    """Whether W0 has a singular value below 1e-6 of the largest.

    Eigenvalues of W0 W0ᵀ in float32 cannot tell (they hold squares), so the few weakest vectors are
    cleaned of their strong components once and measured on W0 itself.
    """
    top = float(energy.max())
    if top <= 0 or bool((base == 0).all(dim=1).any()):
        return True
    weak = min(_WEAK, len(energy) // 2)
    if weak == 0:
        return False
    z, strong = basis[:, :weak], basis[:, weak:]
    image = base @ (base.T @ z)
    z = z - strong @ ((strong.T @ image) / energy[weak:].clamp_min(1e-12 * top)[:, None])
    q, _ = torch.linalg.qr(z)
    smallest = torch.linalg.svdvals((base.T @ q).double())[-1]
    return float(smallest) < 1e-6 * top**0.5
