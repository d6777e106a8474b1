"""Rotations of one base towards several targets, through the eigenbasis of W0 W0ᵀ.

With W0 W0ᵀ + λI = V Λ Vᵀ and S = Vᵀ W0, the target of a delta δ is M = Λ + E, E = Vᵀ δ Sᵀ plus what
V leaves off the diagonal, in that basis, and its rotation is polar(M). W0 and δ are [d, n] with d
the smaller side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..concurrency.torch_threads import torch_threads
from ..shapes import Float, Float32
from .lie import cayley_change, cayley_on, generator_of
from .polar import nearest_rotation
from .probes import gaussian, residual_error
from .products import mirrored, product, product_t

__all__ = [
    "Frame",
    "Workspace",
    "exact_rotation",
    "frame_of",
    "refined_rotation",
    "small_error",
    "small_generator",
    "small_rotation",
]

_STEPS = 5
_WEAK = 24


@dataclass(frozen=True)
class Frame:
    """The eigenbasis V of one base W0, S = Vᵀ W0, and Λ + `rest` = S Sᵀ + `damping`·I.

    `values` [d] are Λ's. `rest` has a zero diagonal: it is the eigendecomposition's own error.
    """

    base: Float32[Tensor, "d n"]
    basis: Float32[Tensor, "d d"]
    basis_t: Float32[Tensor, "d d"]
    coords: Float32[Tensor, "d n"]
    values: Float32[Tensor, "d"]
    rest: Float32[Tensor, "d d"]
    damping: float
    deficient: bool

    def leave(self, matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
        """V Y Vᵀ: from the eigenbasis into the base's own axes. Cost: two d³ products."""
        basis = self.basis.to(matrix.dtype)
        return product_t(product(basis, matrix), basis)


class Workspace:
    """Buffers of d×d float32, and 1/(λ_j + λ_k), shared by all rows of a tensor."""

    def __init__(self, frame: Frame) -> None:
        self.x, self.f, self.t = (torch.empty_like(frame.rest) for _ in range(3))
        self.e = self.x  # until the first row
        sums = frame.values[:, None] + frame.values[None, :]
        self.inverse = torch.where(sums > 0, sums, torch.ones_like(sums)).reciprocal_()


def frame_of(base: Float32[Tensor, "d n"], damping: float) -> Frame:
    """One eigendecomposition of W0 W0ᵀ; λ = damping · its mean eigenvalue.

    `deficient` is True where W0's smallest singular value is below 1e-6 of its largest.
    """
    square = mirrored(base, base)
    with torch_threads(1):  # it waits for memory: two threads measured 1.2 to 4 times slower
        _, vectors = torch.linalg.eigh(square)
    del square
    basis, basis_t = vectors.contiguous(), vectors.T.contiguous()
    coords = product(basis_t, base)
    rest = mirrored(coords, coords)
    energy = rest.diagonal().clone()
    rest.diagonal().zero_()
    shift = damping * float(energy.double().mean())
    deficient = _deficient(base, basis, energy)
    return Frame(base, basis, basis_t, coords, energy + shift, rest, shift, deficient)


def small_rotation(
    frame: Frame, delta: Float32[Tensor, "d n"], work: Workspace
) -> Float32[Tensor, "d d"]:
    """X: twice the rotation's generator, R ≈ I + X + X²/2, to second order, in the eigenbasis.

    X₁ = (E − Eᵀ)∘D, X₂ = −(F X₁ + X₁ F)∘D with F = (E + Eᵀ)/2 and D_jk = 1/(λ_j + λ_k).
    It lives in `work` until its next use, as does E, which the other functions of a row look at.
    Cost: three products (two d²n, one d³).
    """
    e, x, f, t = _in_basis(frame, delta), work.x, work.f, work.t
    work.e = e.add_(frame.rest)
    t.copy_(e.T)
    torch.sub(e, t, out=x).mul_(work.inverse)
    torch.add(e, t, out=f)
    p = product_t(f, x)  # 2 F Xᵀ = −2 F X; X₁ F = −(F X₁)ᵀ, so one product gives both terms
    t.copy_(p.T)
    return x.add_(p.sub_(t).mul_(work.inverse), alpha=0.5)


def small_error(frame: Frame, size: float, work: Workspace) -> float:
    """How far the last `small_rotation` is from polar(M), relative to ‖δ‖ = `size`.

    `probes.residual_error` of R = I + X + X²/2 + X³/4, and that third order, which R leaves out,
    measured on W0. Cost: some eighty products with a few vectors.
    """
    x = work.x

    def turn(v: Tensor, inverse: bool) -> Tensor:
        once = product_t(v, x)  # rows: v Xᵀ = −v X
        twice = product_t(once, x)
        odd = torch.add(once, product_t(twice, x), alpha=0.25)
        even = torch.add(v, twice, alpha=0.5)
        return even.sub_(odd) if inverse else even.add_(odd)

    third = _third_order(frame, x)
    error = residual_error(frame.values, lambda v, t: _target(frame, work.e, v, t), turn)
    return math.hypot(error, third) / max(size, 1e-30)


def small_generator(frame: Frame, work: Workspace) -> Float32[Tensor, "d d"]:
    """V X Vᵀ of the last `small_rotation`. Cost: one d³ product and a half."""
    left = product_t(frame.basis, work.x)  # V Xᵀ = −V X
    return mirrored(left, frame.basis, sign=-1.0).neg_()


def refined_rotation(
    frame: Frame, size: float, work: Workspace, tolerance: float
) -> tuple[Float32[Tensor, "d d"], Float32[Tensor, "d d"]] | None:
    """(A, R − I) by repeating the second-order step on what the last one left; None if it diverges.

    R ← R · cayley(X'/2) with X' the second-order rotation of RᵀM; both in the eigenbasis. Meant for
    deltas of some ten percent, where one or two steps reach `tolerance` · `size`, size = ‖δ‖. Cost:
    some five products per step, and an inverse at the end.
    """
    m, allowed = work.e + torch.diag(frame.values), 0.1 * tolerance * size
    change = cayley_on(0.5 * work.x, frame.coords, allowed)
    for _ in range(_STEPS):
        change = _step(frame, m, change, work, allowed)

        def turn(v: Tensor, inverse: bool, change: Tensor = change) -> Tensor:
            return v + (product(v, change) if inverse else product_t(v, change))

        error = residual_error(frame.values, lambda v, t: _target(frame, work.e, v, t), turn)
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
    m = s @ s.T + (frame.basis_t.double() @ delta.double()) @ s.T
    m.diagonal().add_(frame.damping)
    generator = generator_of(nearest_rotation(m))
    return generator, cayley_change(generator)


def _step(frame: Frame, m: Tensor, change: Tensor, work: Workspace, allowed: float) -> Tensor:
    """One refinement: the second-order rotation of RᵀM, appended to R = I + change."""
    h, x, f, t = product(change.T, m).add_(m), work.x, work.f, work.t
    t.copy_(h.T)
    torch.sub(h, t, out=x).mul_(work.inverse)
    torch.add(h, t, out=f)
    f.diagonal().sub_(2.0 * frame.values)
    p = product_t(f, x)
    t.copy_(p.T)
    x.add_(p.sub_(t).mul_(work.inverse), alpha=0.5)
    more = cayley_on(0.5 * x, frame.coords, allowed)
    return product(change, more).add_(change).add_(more)


def _target(frame: Frame, e: Tensor, v: Tensor, transposed: bool) -> Tensor:
    """v Mᵀ or v M for rows v, M = Λ + E."""
    return torch.addcmul(product(v, e) if transposed else product_t(v, e), v, frame.values)


def _third_order(frame: Frame, x: Tensor) -> float:
    """‖X³ W0‖/4 by random probes."""
    probes = gaussian(8, frame.coords.shape[1], x.device)
    third = product_t(product_t(product_t(product_t(probes, frame.coords), x), x), x)
    return 0.25 * float(third.square().sum() / len(probes)) ** 0.5


def _with_generator(change: Tensor, tolerance: float) -> tuple[Tensor, Tensor] | None:
    """(A, R − I), unless R is so close to a half turn that float32 loses A."""
    eye = torch.eye(len(change), dtype=change.dtype, device=change.device)
    generator = generator_of(change + eye)
    z = gaussian(8, len(change), change.device)
    moved = product_t(z, change)
    missed = moved - product_t(moved + 2.0 * z, generator)
    if float(missed.norm()) <= tolerance * float(moved.norm()):
        return generator, change
    return None


def _in_basis(frame: Frame, delta: Tensor) -> Tensor:
    """E = Vᵀ δ Sᵀ = Vᵀ (W0 δᵀ)ᵀ V, by whichever order of products is cheaper."""
    d, n = delta.shape
    if n <= 2 * d:
        return product_t(product(frame.basis_t, delta), frame.coords)
    return product_t(product_t(frame.basis_t, product_t(frame.base, delta)), frame.basis_t)


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
