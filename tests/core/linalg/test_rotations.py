import pytest
import torch

from orthomerge_core.linalg.lie import (
    cayley_change,
    cayley_on,
    generator_of,
    series_degree,
    skew_part,
)
from orthomerge_core.linalg.polar import nearest_rotation
from orthomerge_core.linalg.probes import residual_error
from orthomerge_core.linalg.procrustes import (
    Workspace,
    exact_rotation,
    frame_of,
    refined_rotation,
    small_error,
    small_generator,
    small_rotation,
)

EYE = torch.eye(24, dtype=torch.float64)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def setting(shape=(48, 60), size=0.02, damping=1e-3):
    base, delta = random(*shape).float(), size * random(*shape, seed=1).float()
    return frame_of(base, damping), base, delta


def miss(frame, delta, change, truth):
    """‖ΔR W0‖ / ‖δ‖."""
    return float(((change - truth).double() @ frame.coords.double()).norm() / delta.norm())


def test_cayley_and_back():
    skew = skew_part(random(24, 24))
    rotation = cayley_change(skew) + EYE
    torch.testing.assert_close(rotation @ rotation.T, EYE)
    assert torch.linalg.det(rotation) == pytest.approx(1.0)
    torch.testing.assert_close(generator_of(rotation), skew, rtol=1e-6, atol=1e-6)
    plain = torch.linalg.solve(EYE - skew, EYE + skew)
    torch.testing.assert_close(rotation, plain)


@pytest.mark.parametrize(
    ("size", "degree"),
    [(0.0, 2), (0.01, 2), (0.04, 3), (0.08, 4), (0.2, 8), (0.4, 16), (2.0, None)],
)
def test_the_series_keeps_to_what_is_allowed(size, degree):
    skew = skew_part(random(80, 80))
    skew = (size * skew / torch.linalg.matrix_norm(skew, 2)).float()
    image = random(80, 100, seed=2).float()
    allowed = 1e-5 * float(image.norm())
    assert series_degree(skew, image, 0.5 * allowed) == degree
    found = cayley_on(skew, image, allowed).double() @ image.double()
    exact = cayley_change(skew.double()) @ image.double()
    assert float((found - exact).norm()) <= 1.5 * allowed


def test_a_half_turn_has_a_finite_generator():
    half = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    assert bool(torch.isfinite(generator_of(half)).all())


def test_a_reflection_becomes_the_nearest_rotation():
    mirror = torch.diag(torch.tensor([3.0, 2.0, -1.0], dtype=torch.float64))
    found = nearest_rotation(mirror)
    torch.testing.assert_close(found, torch.eye(3, dtype=torch.float64))
    assert float((found * mirror).sum()) == pytest.approx(4.0)


@pytest.mark.parametrize("shape", [(48, 48), (40, 60), (24, 160)])
def test_the_second_order_is_second_order(shape):
    errors = []
    for size in (0.005, 0.02):
        frame, _, delta = setting(shape, size)
        _, truth = exact_rotation(frame, delta)
        x = small_rotation(frame, delta, Workspace(frame))
        errors.append(miss(frame, delta, x + 0.5 * x @ x, truth))
    assert errors[0] < 1e-3
    assert errors[1] < 40 * max(errors[0], 1e-6)


@pytest.mark.parametrize("size", [0.005, 0.02, 0.06])
@pytest.mark.parametrize("shape", [(48, 48), (40, 90)])
def test_the_estimate_matches_the_measured_error(shape, size):
    frame, _, delta = setting(shape, size)
    _, truth = exact_rotation(frame, delta)
    work, size = Workspace(frame), float(delta.norm())
    x = small_rotation(frame, delta, work)
    measured = miss(frame, delta, x + 0.5 * x @ x + 0.25 * x @ x @ x, truth)
    assert 0.7 * measured < small_error(frame, size, work) < 4 * measured + 2e-5


def test_the_estimate_sees_a_wrong_rotation():
    frame, _, delta = setting()
    work = Workspace(frame)
    small_rotation(frame, delta, work)
    m = work.e + torch.diag(frame.values)

    def target(v, transposed):
        return v @ (m if transposed else m.T)

    assert residual_error(frame.values, target, lambda v, _: v) > 0.1 * float(delta.norm())
    nothing = residual_error(frame.values, target, lambda v, _: v * float("nan"))
    assert nothing == float("inf")


@pytest.mark.parametrize("shape", [(48, 60), (24, 160)])
def test_what_leaves_the_eigenbasis_is_the_rotation_in_the_bases_own_axes(shape):
    frame, base, delta = setting(shape, 0.01)
    work = Workspace(frame)
    x = small_rotation(frame, delta, work).clone()
    own = small_generator(frame, work)
    torch.testing.assert_close(own, -own.T, rtol=0, atol=1e-6 * float(own.abs().max()))
    torch.testing.assert_close(own, frame.leave(x), rtol=1e-3, atol=1e-6)
    w, shift = base.double(), frame.damping
    target = (w + delta.double()) @ w.T + shift * torch.eye(len(w), dtype=torch.float64)
    left, _, right = torch.linalg.svd(target)
    change = own.double() + 0.5 * own.double() @ own.double()
    missed = (change + torch.eye(len(w)) - left @ right) @ w
    assert float(missed.norm()) < 1e-3 * float(delta.norm())


def test_refinement_reaches_large_deltas():
    frame, _, delta = setting((48, 60), 0.15)
    generator, truth = exact_rotation(frame, delta)
    work = Workspace(frame)
    small_rotation(frame, delta, work)
    assert small_error(frame, float(delta.norm()), work) > 1e-3
    found = refined_rotation(frame, float(delta.norm()), work, 1e-3)
    assert found is not None
    assert miss(frame, delta, found[1], truth) < 1e-3
    assert miss(frame, delta, found[0], generator) < 1e-3


def test_a_half_turn_is_not_mistaken_for_no_turn():
    frame, base, _ = setting((32, 32), damping=0.0)
    delta = -2.0 * base
    work = Workspace(frame)
    small_rotation(frame, delta, work)
    assert small_error(frame, float(delta.norm()), work) == float("inf")
    assert refined_rotation(frame, float(delta.norm()), work, 1e-6) is None


def test_rank_is_judged_on_the_base_not_on_its_square():
    full = random(64, 64).float()
    assert not frame_of(full, 1e-3).deficient
    scaled = full * torch.logspace(0, -3, 64)[:, None]
    assert not frame_of(scaled, 1e-3).deficient
    twice = full.clone()
    twice[5] = twice[9]
    low = (random(64, 8) @ random(8, 64, seed=3)).float()
    zero_row = full.clone()
    zero_row[3] = 0
    for base in (twice, low, zero_row, torch.zeros(8, 8)):
        assert frame_of(base, 1e-3).deficient
