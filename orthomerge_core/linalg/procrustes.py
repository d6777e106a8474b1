"""Rotations of one base towards several targets, in the eigenbasis of W0 W0ᵀ.

With W0 W0ᵀ + λI = V Λ Vᵀ and S = Vᵀ W0, the target of a delta δ is M = Λ + E, E = Vᵀ δ Sᵀ, in that
basis, and its rotation is polar(M). All tensors here are in the working frame: W0 and δ are [d, n]
with d the smaller side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float, Float32
from .lie import cayley_change, generator_of
from .polar import nearest_rotation
from .probes import gaussian, residual_error

__all__ = [
    "Frame",
    "Workspace",
    "exact_rotation",
    "frame_of",
    "refined_rotation",
    "small_error",
    "small_rotation",
]

_BLOCKS = 6
_STEPS = 5
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
        self.e, self.x, self.f, self.p = (torch.empty_like(frame.basis) for _ in range(4))
        sums = frame.values[:, None] + frame.values[None, :]
        self.inverse = torch.where(sums > 0, sums, torch.ones_like(sums)).reciprocal_()


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
    Both live in `work` until its next use, as does E, which the other functions of a row look at.
    Cost: four products (two d²n, two d³).
    """
    e, x, f, p = work.e, work.x, work.f, work.p
    _in_basis(frame, delta, out=e)
    torch.sub(e, e.T, out=x).mul_(work.inverse)
    torch.add(e, e.T, out=f).mul_(0.5)
    torch.mm(f, x, out=p)
    torch.sub(p, p.T, out=f).mul_(work.inverse)  # X₁ F = −(F X₁)ᵀ, so one product gives both terms
    x.sub_(f)
    _skew_square(x, out=p)
    return x, p.mul_(0.5)


def small_error(frame: Frame, size: float, work: Workspace) -> float:
    """How far the last `small_rotation` is from polar(M), relative to ‖δ‖ = `size`.

    `probes.residual_error` of R = I + X + P + X P/2, and that third order, which the kept pair
    leaves out, measured on W0. Cost: some forty products with a few vectors.
    """
    x, p = work.x, work.p

    def turn(v: Tensor, inverse: bool) -> Tensor:
        twice = v @ p
        skew = (v + 0.5 * twice) @ x  # rows: v Xᵀ = −v X
        return v + twice + (skew if inverse else -skew)

    third = _third_order(frame, x, p)
    error = residual_error(frame.values, lambda v, t: _target(frame, work.e, v, t), turn)
    return math.hypot(error, third) / max(size, 1e-30)


def refined_rotation(
    frame: Frame, size: float, work: Workspace, tolerance: float
) -> tuple[Float32[Tensor, "d d"], Float32[Tensor, "d d"]] | None:
    """(A, R − I) by repeating the second-order step on what the last one left; None if it diverges.

    R ← R · cayley(X'/2) with X' the second-order rotation of RᵀM. Meant for deltas of some ten
    percent, where one or two steps reach `tolerance` · `size`, size = ‖δ‖. Cost: four products and
    an inverse per step.
    """
    m = torch.addmm(work.e, frame.coords, frame.coords.T)
    m.diagonal().add_(frame.damping)
    change = cayley_change(0.5 * work.x)
    for _ in range(_STEPS):
        change = _step(frame, m, change, work)

        def turn(v: Tensor, inverse: bool, change: Tensor = change) -> Tensor:
            return v + v @ (change if inverse else change.T)

        error = residual_error(frame.values, lambda v, t: v @ (m if t else m.T), turn)
        if error <= tolerance * size:
            return _with_generator(change, tolerance)
        if not math.isfinite(error) or error > size:
            return None
    return None


def exact_rotation(
    frame: Frame, delta: Float32[Tensor, "d n"]
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """(A, R − I) in the frame's basis, float64: SVD of M, det +1, generator, R from it again."""
    s = frame.coords.double()
    m = s @ s.T + (frame.basis.double().T @ delta.double()) @ s.T
    m.diagonal().add_(frame.damping)
    generator = generator_of(nearest_rotation(m))
    return generator, cayley_change(generator)


def _step(frame: Frame, m: Tensor, change: Tensor, work: Workspace) -> Tensor:
    """One refinement: the second-order rotation of RᵀM, appended to R = I + change."""
    h, x, f = torch.addmm(m, change.T, m), work.x, work.f
    torch.sub(h, h.T, out=x).mul_(work.inverse)
    torch.add(h, h.T, out=f).mul_(0.5)
    f.diagonal().sub_(frame.values)
    torch.mm(f, x, out=h)
    x.sub_(torch.sub(h, h.T, out=f).mul_(work.inverse))
    more = cayley_change(0.5 * x)
    return torch.addmm(change + more, change, more)


def _target(frame: Frame, e: Tensor, v: Tensor, transposed: bool) -> Tensor:
    """v Mᵀ or v M for rows v, with W0 W0ᵀ from W0 itself: the eigendecomposition's error counts."""
    s = frame.coords
    return torch.addmm(frame.damping * v, v @ s, s.T).addmm_(v, e if transposed else e.T)


def _third_order(frame: Frame, x: Tensor, p: Tensor) -> float:
    """‖X P W0‖/2 by random probes."""
    probes = gaussian(8, frame.coords.shape[1], x.device)
    third = probes @ frame.coords.T @ p @ x
    return 0.5 * float(third.square().sum() / len(probes)) ** 0.5


def _with_generator(change: Tensor, tolerance: float) -> tuple[Tensor, Tensor] | None:
    """(A, R − I), unless R is so near a half turn that float32 loses A."""
    eye = torch.eye(len(change), dtype=change.dtype, device=change.device)
    generator = generator_of(change + eye)
    z = gaussian(8, len(change), change.device)
    moved = z @ change.T
    missed = moved - (moved + 2.0 * z) @ generator.T
    if float(missed.norm()) <= tolerance * float(moved.norm()):
        return generator, change
    return None


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
