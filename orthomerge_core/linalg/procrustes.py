"""Rotations of one base towards several targets, in the eigenbasis of W0 W0ᵀ.

With W0 W0ᵀ + λI = V Λ Vᵀ and S = Vᵀ W0, the target of a delta δ is M = Λ + E, E = Vᵀ δ Sᵀ, in that
basis, and its rotation is polar(M). All tensors here are in the working frame: W0 and δ are [d, n]
with d the smaller side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float, Float32
from .lie import cayley_change, generator_of
from .polar import nearest_rotation

__all__ = [
    "Frame",
    "Workspace",
    "exact_rotation",
    "frame_of",
    "refined_rotation",
    "residual_error",
    "small_error",
    "small_rotation",
]

_BLOCKS = 6
_PROBES = 8
_REPEAT = 2
_STEP = 1.0
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
    """Three d×d float32 buffers, and 1/(λ_j + λ_k), shared by all rows of a tensor."""

    def __init__(self, frame: Frame) -> None:
        self.a, self.b, self.c = (torch.empty_like(frame.basis) for _ in range(3))
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


def small_error(
    frame: Frame,
    delta: Float32[Tensor, "d n"],
    x: Float32[Tensor, "d d"],
    p: Float32[Tensor, "d d"],
) -> float:
    """`residual_error` of (X, P), and the third order that P leaves out of the skew part.

    That is X P/2, measured on W0 by random probes. Cost: as `residual_error`.
    """

    def apply(v: Tensor, inverse: bool) -> Tensor:
        twice = p @ v
        skew = x @ (v + 0.5 * twice)
        return v + twice - skew if inverse else v + twice + skew

    probes = _probes(frame.coords.shape[1], _PROBES, delta.device)
    third = 0.5 * (x @ (p @ (frame.coords @ probes)))
    size = max(float(torch.linalg.vector_norm(delta)), 1e-30)
    left_out = float(third.square().sum() / _PROBES) ** 0.5 / size
    return math.hypot(residual_error(frame, delta, apply), left_out)


def residual_error(
    frame: Frame, delta: Float32[Tensor, "d n"], apply: Callable[[Tensor, bool], Tensor]
) -> float:
    """How far a rotation is from polar(M): an estimate of ‖ΔR W0‖ / ‖δ‖; inf if it is another turn.

    `apply(v, inverse)` is R v or Rᵀ v. An error e leaves r = RᵀM − MᵀR, e_jk = r_jk/(λ_j + λ_k), so
    ‖e Λ^½‖² = ½ Σ r_jk²/(λ_j + λ_k). With 1/(λ_j + λ_k) = ∫ exp(−tλ_j) exp(−tλ_k) dt as a sum
    over t, every term is a norm that Gaussian probes estimate. M is rebuilt from W0 and δ, so that
    the eigendecomposition's own error counts too. Cost: a dozen products with 30 vectors.
    """
    times = _times(frame.values)
    decay = torch.exp(-0.5 * frame.values[:, None] * times[None, :]).repeat(1, _REPEAT)
    z = _probes(len(decay), decay.shape[1], decay.device) * decay
    s = frame.coords

    def target(v: Tensor, transposed: bool) -> Tensor:
        plain = s.T @ v
        if transposed:
            return s @ (plain + delta.T @ (frame.basis @ v)) + frame.damping * v
        return s @ plain + frame.basis.T @ (delta @ plain) + frame.damping * v

    if not _definite(
        frame, lambda v: apply(target(v, False), True) + target(apply(v, False), True)
    ):
        return math.inf
    skew = (apply(target(z, False), True) - target(apply(z, False), True)) * decay
    total = (skew.square().sum(dim=0) * times.repeat(_REPEAT)).sum() * _STEP / _REPEAT
    size = max(float(torch.linalg.vector_norm(delta)), 1e-30)
    error = float((0.5 * total).sqrt()) / size
    return error if math.isfinite(error) else math.inf


def refined_rotation(
    frame: Frame,
    delta: Float32[Tensor, "d n"],
    x: Float32[Tensor, "d d"],
    work: Workspace,
    tolerance: float,
) -> tuple[Float32[Tensor, "d d"], Float32[Tensor, "d d"]] | None:
    """(A, R − I) by repeating the second-order step on what is left, from X; None if it diverges.

    R ← R · cayley(X'/2) with X' the second-order rotation of RᵀM. Meant for deltas of some ten
    percent, where one or two steps reach `tolerance`. Cost: three products and an inverse per step.
    """
    m = (frame.coords + frame.basis.T @ delta) @ frame.coords.T
    m.diagonal().add_(frame.damping)
    turn = cayley_change(0.5 * x)
    for _ in range(_STEPS):
        h = torch.addmm(m, turn.T, m)
        x = torch.sub(h, h.T).mul_(work.inverse)
        f = torch.add(h, h.T).mul_(0.5)
        f.diagonal().sub_(frame.values)
        torch.mm(f, x, out=h)
        x.sub_(torch.sub(h, h.T).mul_(work.inverse))
        step = cayley_change(x.mul_(0.5))
        turn = turn + step + turn @ step

        def apply(v: Tensor, inverse: bool, turn: Tensor = turn) -> Tensor:
            return v + (turn.T if inverse else turn) @ v

        error = residual_error(frame, delta, apply)
        if error <= tolerance:
            return _with_generator(turn, tolerance)
        if not math.isfinite(error) or error > 1.0:
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


def _with_generator(turn: Tensor, tolerance: float) -> tuple[Tensor, Tensor] | None:
    """(A, R − I), unless R is so near a half turn that float32 loses A."""
    eye = torch.eye(len(turn), dtype=turn.dtype, device=turn.device)
    generator = generator_of(turn + eye)
    z = _probes(len(turn), _PROBES, turn.device)
    moved = turn @ z
    missed = moved - generator @ moved - 2.0 * (generator @ z)
    if float(missed.norm()) <= tolerance * float(moved.norm()):
        return generator, turn
    return None


def _definite(frame: Frame, twice_h: Callable[[Tensor], Tensor]) -> bool:
    """Whether H = (RᵀM + MᵀR)/2 stays within 70 % of Λ: a power iteration on Λ^−½ H Λ^−½ − I.

    A rotation that makes RᵀM symmetric but not positive is a turning point, not the nearest one.
    """
    root = frame.values.clamp_min(1e-30).sqrt()[:, None]
    v = _probes(len(root), 4, root.device)
    for _ in range(6):
        v = v / v.norm(dim=0)
        v = 0.5 * twice_h(v / root) / root - v
    return bool(v.norm(dim=0).max() < 0.7)


def _probes(size: int, count: int, device: torch.device) -> Tensor:
    """Gaussian vectors [size, count], the same on every call."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    return torch.randn(size, count, generator=generator).to(device)


def _times(values: Tensor) -> Tensor:
    """Points t with Σ_t step·t·exp(−tλ) ≈ 1/λ for λ between twice the extremes of `values`."""
    low = max(float(values.min()), 1e-7 * float(values.max())) * 2.0
    first, last = -math.log(2.0 * float(values.max())) - 3.0, -math.log(low) + 1.5
    count = int((last - first) / _STEP) + 2
    return torch.exp(first + _STEP * torch.arange(count, device=values.device))


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
