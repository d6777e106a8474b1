import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.methods.contract import Rows
from orthomerge_core.methods.registry import get_method
from tests.oracles import (
    naive_average,
    naive_dual_projection,
    naive_sequential_projection,
    naive_slerp,
    naive_symmetric_projection,
    naive_task_arithmetic,
)

ALPHAS = st.floats(-5, 5, allow_nan=False)


def draw(shape, rows, seed=0, size=0.03):
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=g)
    return base, [size * torch.randn(shape, generator=g) for _ in range(rows)]


def run(name, base, deltas, alphas, repeats, **options):
    rows = Rows(deltas, alphas, repeats)
    return get_method(name).merge(base, rows, options, torch.Generator())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(ALPHAS, st.integers(1, 3)), min_size=1, max_size=6), st.integers(0, 99))
def test_add_and_average_agree_with_float64(weights, seed):
    base, deltas = draw((7, 9), len(weights), seed)
    alphas, repeats = [a for a, _ in weights], [r for _, r in weights]
    for name, oracle in (("task_arithmetic", naive_task_arithmetic), ("average", naive_average)):
        expected = oracle(base, deltas, alphas, repeats)
        merged = run(name, base, deltas, alphas, repeats)
        torch.testing.assert_close(merged.double(), expected, rtol=0, atol=5e-6)


def test_average_by_hand():
    base, a, b = torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([-1.0])
    merged = run("average", base, [a, b], [1.0, 2.0], [3, 1])
    assert merged.item() == pytest.approx(1 + (3 * 3 - 2) / 4)


@pytest.mark.parametrize("size", [1e-4, 0.02, 1.0])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 1.7])
def test_slerp_agrees_with_float64(size, t):
    base, (delta,) = draw((12, 20), 1, size=size)
    merged = run("slerp", base, [delta], [t], [1])
    expected = naive_slerp(base, delta, t)
    torch.testing.assert_close(merged.double(), expected, rtol=0, atol=1e-6)


def test_slerp_per_row_turns_each_row_by_itself():
    base, (delta,) = draw((5, 30), 1, size=0.5)
    merged = run("slerp", base, [delta], [0.4], [1], slerp_axis="row")
    expected = torch.stack([naive_slerp(base[i], delta[i], 0.4) for i in range(5)])
    torch.testing.assert_close(merged.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, -1.0, -2.0, 1e-9, 0.5])
def test_slerp_is_linear_where_there_is_no_angle(factor):
    base = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    merged = run("slerp", base, [base * factor], [0.5], [1])
    torch.testing.assert_close(merged, base + 0.5 * factor * base, rtol=0, atol=1e-6)


def test_slerp_of_a_zero_base_is_linear():
    delta = torch.ones(4, 4)
    merged = run("slerp", torch.zeros(4, 4), [delta], [0.25], [1])
    assert torch.equal(merged, 0.25 * delta)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 99))
def test_projections_agree_with_float64(rows, seed):
    base, deltas = draw((6, 8), rows, seed)
    shared = deltas[0]
    deltas = [d + 0.7 * shared for d in deltas]
    alphas, repeats = [1.0, -0.5, 0.8, 2.0, 0.1][:rows], [1, 2, 1, 1, 3][:rows]
    for variant, oracle in (
        ("sequential", naive_sequential_projection),
        ("symmetric", naive_symmetric_projection),
        ("dual", naive_dual_projection),
    ):
        expected = naive_task_arithmetic(base, oracle(deltas), alphas, repeats)
        merged = run("orthogonal_projection", base, deltas, alphas, repeats, variant=variant)
        torch.testing.assert_close(merged.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("variant", ["sequential", "symmetric", "dual"])
def test_a_model_listed_twice_is_added_once(variant):
    base, (delta, other) = draw((6, 8), 2)
    merged = run(
        "orthogonal_projection", base, [delta, delta, other], [1.0] * 3, [1] * 3, variant=variant
    )
    once = run("orthogonal_projection", base, [delta, other], [1.0] * 2, [1] * 2, variant=variant)
    if variant == "sequential":
        torch.testing.assert_close(merged, once, rtol=0, atol=1e-6)
    alone = run("orthogonal_projection", base, [delta] * 2, [1.0] * 2, [1] * 2, variant=variant)
    torch.testing.assert_close(alone, base + delta, rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 99), st.floats(-0.8, 0.8))
def test_the_dual_variant_keeps_exactly_alpha_of_every_row(rows, seed, pull):
    base, deltas = draw((6, 8), rows, seed)
    shared = deltas[0].clone()
    deltas = [d * (1 + i) + pull * shared for i, d in enumerate(deltas)]
    alphas, repeats = [1.0, -0.5, 0.8, 2.0, 0.1, 1.5][:rows], [1, 2, 1, 1, 3, 1][:rows]
    merged = run("orthogonal_projection", base, deltas, alphas, repeats, variant="dual")
    change = (merged - base).double().flatten()
    kept = [float(change @ d.double().flatten() / d.double().square().sum()) for d in deltas]
    wanted = [a * r for a, r in zip(alphas, repeats, strict=True)]
    assert kept == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("variant", ["symmetric", "dual"])
def test_these_projections_do_not_depend_on_order(variant):
    base, deltas = draw((6, 8), 3)
    deltas[1] = deltas[1] + deltas[0]
    forward = run(
        "orthogonal_projection", base, deltas, [1.0, 0.5, 2.0], [1, 1, 1], variant=variant
    )
    back = run(
        "orthogonal_projection",
        base,
        deltas[::-1],
        [2.0, 0.5, 1.0],
        [1, 1, 1],
        variant=variant,
    )
    torch.testing.assert_close(forward, back, rtol=0, atol=1e-6)
