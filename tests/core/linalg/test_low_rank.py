"""Leading singular directions against a full decomposition in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.errors import OrthoMergeError
from orthomerge_core.linalg.low_rank import RankRule, leading_singular


def matrix(rows, cols, sigma, seed=0):
    """A matrix with these singular values."""
    g = torch.Generator().manual_seed(seed)
    u = torch.linalg.qr(torch.randn(rows, len(sigma), generator=g, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(cols, len(sigma), generator=g, dtype=torch.float64)).Q
    return ((u * torch.tensor(sigma, dtype=torch.float64)) @ v.T).float()


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 50), st.integers(0, 99))
def test_small_matrices_are_decomposed_exactly(rows, cols, rank, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(rows, cols, generator=g)
    u, sigma, v_t = leading_singular(a, RankRule("fixed", rank))
    full = torch.linalg.svdvals(a.double())
    kept = min(rank, rows, cols)
    assert sigma.shape == (kept,)
    torch.testing.assert_close(sigma.double(), full[:kept], rtol=1e-5, atol=1e-5)
    error = (a.double() - (u * sigma).double() @ v_t.double()).norm()
    best = full[kept:].norm()
    assert error <= best + 1e-5 * full.norm()


@pytest.mark.parametrize("shape", [(600, 500), (500, 900)])
def test_large_matrices_are_within_two_per_cent_of_the_best(shape):
    sigma = [1.0 / (1 + i) ** 0.5 for i in range(400)]
    a = matrix(*shape, sigma)
    u, s, v_t = leading_singular(a, RankRule("fixed", 20))
    error = float((a - (u * s) @ v_t).norm())
    best = float(torch.tensor(sigma[20:]).norm())
    assert best * (1 - 1e-4) <= error <= 1.02 * best
    torch.testing.assert_close(s, torch.tensor(sigma[:20]), rtol=0.02, atol=0)
    again = leading_singular(a, RankRule("fixed", 20))
    assert all(torch.equal(x, y) for x, y in zip((u, s, v_t), again, strict=True))


def test_energy_keeps_the_fewest_directions_that_reach_it():
    sigma = torch.tensor([4.0, 2.0, 1.0, 0.5])
    a = matrix(30, 20, sigma.tolist())
    shares = sigma.square().cumsum(0) / sigma.square().sum()
    for rank, share in enumerate(shares.tolist(), start=1):
        assert len(leading_singular(a, RankRule("energy", share - 1e-3))[1]) == rank
    assert len(leading_singular(a, RankRule("energy", 0.99, limit=2))[1]) == 2


def test_energy_asks_for_more_directions_until_it_is_reached():
    a = matrix(700, 650, [1.0] * 100)
    assert len(leading_singular(a, RankRule("energy", 0.899, limit=300))[1]) == 90


def test_ratio_keeps_values_from_that_fraction_of_the_first():
    a = matrix(30, 20, [8.0, 4.1, 3.9, 1.0])
    assert len(leading_singular(a, RankRule("ratio", 0.5))[1]) == 2
    b = matrix(700, 650, [1.0] * 80 + [0.01] * 200)
    assert len(leading_singular(b, RankRule("ratio", 0.1, limit=300))[1]) == 80


def test_the_knee_is_where_the_curve_bends():
    a = matrix(60, 50, [10.0, 9.5, 9.0, 8.5] + [0.5 - 0.01 * i for i in range(30)])
    assert len(leading_singular(a, RankRule("knee"))[1]) == 5
    flat = matrix(60, 50, [1.0] * 50)
    assert len(leading_singular(flat, RankRule("knee", limit=8))[1]) <= 8


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("energy", 1.5, "energy rank: expected a value in 0..1, received 1.5"),
        ("fixed", 0, "fixed rank: expected a value in 1..4096, received 0"),
        ("best", 1, 'unknown rank rule "best": expected fixed, energy, ratio, knee'),
    ],
)
def test_rules_that_mean_nothing(kind, value, says):
    with pytest.raises(OrthoMergeError) as caught:
        RankRule(kind, value)
    assert says in str(caught.value)
