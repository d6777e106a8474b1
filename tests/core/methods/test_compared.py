"""The methods that are here for comparison: against float64, by hand, and their own promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.methods.contract import Rows
from orthomerge_core.methods.registry import get_method
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for
from tests.oracles import (
    naive_add_cosine,
    naive_breadcrumbs,
    naive_iso_c,
    naive_masked_projection,
    naive_sce,
    naive_sphere_mean,
    naive_svc,
    naive_task_arithmetic,
    naive_train_difference,
    naive_tsv_m,
)

ALPHAS, REPEATS = [1.0, 0.5, -0.8, 1.4], [1, 2, 1, 1]
SHAPES = [(12, 20), (20, 12), (8, 3, 2, 2)]
several = given(st.integers(2, 4), st.integers(0, 99), st.sampled_from(SHAPES))
few = settings(max_examples=20, deadline=None)


def draw(shape, rows, seed=0, size=0.05):
    """Deltas with a part in common."""
    g = torch.Generator().manual_seed(seed)
    base, shared = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
    return base, [size * (torch.randn(shape, generator=g) + 0.5 * shared) for _ in range(rows)]


def run(name, base, deltas, alphas=None, repeats=None, origins=(), **options):
    count = len(deltas)
    rows = Rows(deltas, alphas or [1.0] * count, repeats or [1] * count, origins)
    return get_method(name).merge(base, rows, options, torch.Generator())


def close(found, wanted, atol=3e-6):
    torch.testing.assert_close(found.double(), wanted.double(), rtol=0, atol=atol)


@few
@given(st.integers(1, 4), st.integers(0, 99), st.floats(0.0, 4.0))
def test_train_difference_agrees_with_float64(rows, seed, gain):
    base, deltas = draw((7, 9), rows, seed)
    _, parents = draw((7, 9), rows, seed + 1)
    origins = [parent if i % 2 else None for i, parent in enumerate(parents)]
    found = run("train_difference", base, deltas, ALPHAS[:rows], REPEATS[:rows], origins, gain=gain)
    wanted = naive_train_difference(base, deltas, ALPHAS[:rows], REPEATS[:rows], origins, gain)
    close(found, wanted, 1e-5)


def test_train_difference_by_hand():
    base, delta = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    # from the base itself: half, times 1.8
    close(run("train_difference", base, [delta]), torch.tensor([0.9, 0.9, 0.0]))
    # the parent as far below the base as the child was trained: nothing left to learn; and 3 of 4
    origin = torch.tensor([-1.0, 2.0, 0.0])
    found = run("train_difference", base, [delta], origins=[origin])
    close(found, torch.tensor([0.0, 1.8 * 0.75, 0.0]))


def test_train_difference_learns_a_model_listed_twice_once():
    base, (delta,) = draw((5, 6), 1)
    close(run("train_difference", base, [delta, delta], gain=2.0), base + delta)


def test_the_executor_hands_on_where_a_delta_starts():
    g = torch.Generator().manual_seed(0)
    base = {"x.weight": torch.randn(6, 5, generator=g)}
    parent = {"x.weight": base["x.weight"] + 0.1 * torch.randn(6, 5, generator=g)}
    child = {"x.weight": parent["x.weight"] + 0.1 * torch.randn(6, 5, generator=g)}
    spec = live_spec({"base": base, "a": parent, "b": child})
    rows = (Row("b", "a", alpha=0.8),)
    recipe = recipe_for(spec, *rows, method="train_difference")
    with plan_merge(recipe, spec, output_dtype="fp32") as plan:
        merged = run_merge(plan).state_dict["x.weight"]
    b, p, c = (m["x.weight"] for m in (base, parent, child))
    wanted = naive_train_difference(b, [c - p], [0.8], [1], [p - b])
    close(merged, wanted)
    assert float((wanted - naive_train_difference(b, [c - p], [0.8], [1], [None])).norm()) > 1e-3


@few
@given(st.integers(0, 99), st.floats(-1.0, 1.5), st.sampled_from([*SHAPES, (9,)]))
def test_the_cosine_pair_agrees_with_float64(seed, alpha, shape):
    base, (delta,) = draw(shape, 1, seed, size=0.8)
    for name, whole in (("add_cosine_a", False), ("add_cosine_b", True)):
        close(run(name, base, [delta], [alpha]), naive_add_cosine(base, delta, alpha, whole=whole))


def test_the_cosine_pair_is_sd_mechas():
    pytest.importorskip("sd_mecha")
    from orthomerge_core.methods._mecha import tensor_function

    base, (delta,) = draw((12, 20), 1, size=0.9)
    for name in ("add_cosine_a", "add_cosine_b"):
        theirs = tensor_function(name)(base, base + delta, alpha=torch.tensor(0.3))
        close(run(name, base, [delta], [0.3]), theirs)


def test_cosine_a_takes_unlike_columns_first():
    base = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    delta = torch.tensor([[0.0, -1.0], [0.0, 1.0]])  # the second column turns by 90 degrees
    assert run("add_cosine_a", base, [delta], [0.01]).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    found = run("add_cosine_a", base, [delta], [-0.25])  # a similarity of 0.25 is asked for
    assert found.tolist() == [[1.0, 0.25], [0.0, 0.75]]


@few
@several
def test_multislerp_agrees_with_float64(rows, seed, shape):
    base, deltas = draw(shape, rows, seed)
    alphas, repeats = ALPHAS[:rows], REPEATS[:rows]
    points = [a * d for a, d in zip(alphas, deltas, strict=True)]
    mean = naive_sphere_mean(points, [r / sum(repeats) for r in repeats], 1)
    close(run("multislerp", base, deltas, alphas, repeats), base.double() + mean.reshape(shape))


def test_multislerp_keeps_the_length_that_the_average_loses():
    base = torch.zeros(2)
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    close(run("multislerp", base, [a, b]), torch.tensor([1.0, 1.0]) * 3 / 2**0.5)
    close(run("multislerp", base, [a, -a]), torch.zeros(2))  # they cancel: the average


@few
@several
def test_karcher_agrees_with_float64(rows, seed, shape):
    base, deltas = draw(shape, rows, seed, size=0.4)
    alphas, repeats = ALPHAS[:rows], REPEATS[:rows]
    points = [base + a * d for a, d in zip(alphas, deltas, strict=True)]
    mean = naive_sphere_mean(points, [r / sum(repeats) for r in repeats], 500)
    found = run("karcher", base, deltas, alphas, repeats, iterations=500)
    close(found, mean.reshape(shape))


def test_the_karcher_mean_of_two_is_the_middle_of_their_arc():
    base, (a, b) = draw((9, 14), 2, size=0.5)
    found = run("karcher", base, [a, b])
    middle = run("slerp", base + a, [b - a], [0.5])
    close(found, middle)


def test_karcher_of_a_zero_base_or_of_opposites_is_the_average():
    one = torch.tensor([1.0, 2.0])
    close(run("karcher", torch.zeros(2), [one, 3 * one]), 2 * one)
    base = torch.tensor([1.0, 0.0])
    close(run("karcher", base, [torch.tensor([0.0, 0.0]), -2 * base]), torch.zeros(2))


@few
@given(st.integers(1, 4), st.integers(0, 99), st.floats(0.05, 1.0), st.floats(0.0, 0.3))
def test_breadcrumbs_agrees_with_float64(rows, seed, density, gamma):
    density = min(density, 1.0 - gamma)
    base, deltas = draw((9, 13), rows, seed)
    alphas, repeats = ALPHAS[:rows], REPEATS[:rows]
    found = run("breadcrumbs", base, deltas, alphas, repeats, density=density, gamma=gamma)
    close(found, naive_breadcrumbs(base, deltas, alphas, repeats, density, gamma))


def test_breadcrumbs_by_hand():
    delta = torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0, -10.0])
    found = run("breadcrumbs", torch.zeros(10), [delta], density=0.5, gamma=0.2)
    assert found.tolist() == [0, 0, 0, -4.0, 5.0, -6.0, 7.0, -8.0, 0, 0]


@few
@given(st.integers(2, 4), st.integers(0, 99), st.floats(0.05, 1.0))
def test_sce_agrees_with_float64(rows, seed, density):
    base, deltas = draw((9, 13), rows, seed)
    alphas, repeats = ALPHAS[:rows], REPEATS[:rows]
    found = run("sce", base, deltas, alphas, repeats, density=density)
    close(found, naive_sce(base, deltas, alphas, repeats, density))


def test_sce_by_hand():
    a, b = torch.tensor([2.0, 1.0, 4.0]), torch.tensor([2.0, -1.0, 2.0])
    # variance 0, 1, 1: two thirds keep the last two; energies 17 and 5; signs of (0, 6)
    found = run("sce", torch.zeros(3), [a, b], density=0.66)
    close(found, torch.tensor([0.0, 0.0, (17 * 4 + 5 * 2) / 22]))


@few
@several
def test_tsv_m_agrees_with_float64(rows, seed, shape):
    base, deltas = draw(shape, rows, seed)
    alphas, repeats = ALPHAS[:rows], REPEATS[:rows]
    wanted = naive_tsv_m(base, deltas, alphas, repeats)
    close(run("tsv_m", base, deltas, alphas, repeats), wanted, 1e-5)


def test_tsv_m_of_changes_that_do_not_meet_is_their_sum():
    a, b = torch.zeros(6, 6), torch.zeros(6, 6)
    a[0, 0], a[1, 1], b[2, 3], b[4, 5] = 3.0, 2.0, 4.0, 1.0
    base = torch.ones(6, 6)
    close(run("tsv_m", base, [a, b]), base + a + b)


@few
@several
def test_iso_c_agrees_with_float64(rows, seed, shape):
    base, deltas = draw(shape, rows, seed)
    alphas, repeats = ALPHAS[:rows], REPEATS[:rows]
    close(run("iso_c", base, deltas, alphas, repeats), naive_iso_c(base, deltas, alphas, repeats))


def test_iso_c_makes_every_direction_that_is_changed_equally_strong():
    base, delta = torch.zeros(4, 4), torch.diag(torch.tensor([6.0, 2.0, 1.0, 0.0]))
    close(run("iso_c", base, [delta]), torch.diag(torch.tensor([3.0, 3.0, 3.0, 0.0])))
    close(run("iso_c", base, [delta, -delta]), base)  # nothing is left to be made even


@few
@given(
    st.integers(1, 4), st.integers(0, 99), st.sampled_from(SHAPES), st.sampled_from([0.1, 0.6, 1.0])
)
def test_svc_agrees_with_float64(rows, seed, shape, floor):
    base, deltas = draw(shape, rows, seed)
    alphas, repeats = [1.0, 0.5, 0.8, 1.4][:rows], REPEATS[:rows]
    found = run("svc", base, deltas, alphas, repeats, floor=floor)
    close(found, naive_svc(base, deltas, alphas, repeats, floor), 1e-5)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_svc_adds_what_all_rows_share_once_and_the_rest_whole(count):
    base, shared = torch.zeros(8, 8), torch.zeros(8, 8)
    shared[7, 7] = 2.0
    deltas = []
    for i in range(count):
        own = torch.zeros(8, 8)
        own[i, i] = 1.0 + i / 10
        deltas.append(own + shared)
    wanted = sum(d - shared for d in deltas) + shared
    close(run("svc", base, deltas), wanted)


def test_a_vector_is_one_direction_for_svc():
    base, (delta,) = draw((30,), 1)
    close(run("svc", base, [delta, delta]), base + delta)


@few
@given(st.integers(2, 4), st.integers(0, 99), st.floats(0.05, 1.0))
def test_masked_projection_agrees_with_float64(rows, seed, density):
    base, deltas = draw((9, 13), rows, seed)
    alphas, repeats = ALPHAS[:rows], REPEATS[:rows]
    found = run("masked_projection", base, deltas, alphas, repeats, density=density)
    close(found, naive_masked_projection(base, deltas, alphas, repeats, density), 2e-5)


@few
@given(st.integers(2, 4), st.integers(0, 99), st.sampled_from([0.2, 0.5, 1.0]))
def test_masked_projection_masks_as_ties_does(rows, seed, density):
    """Where TIES keeps nothing of any row, neither does this; and the other way round."""
    pytest.importorskip("sd_mecha")
    base, deltas = draw((9, 13), rows, seed)
    zero = torch.zeros_like(base)
    ties = run("ties", zero, deltas, density=density, vote_by_size=True)
    found = run("masked_projection", zero, deltas, density=density)
    assert torch.equal(ties == 0, found == 0)


def test_a_single_row_passes_the_mask_whole():
    base, (delta,) = draw((9, 13), 1)
    close(run("masked_projection", base, [delta], [0.7], [2]), base + 1.4 * delta)


def test_masked_projection_without_a_mask_to_speak_of_is_the_projection():
    base, (delta,) = draw((9, 13), 1)
    deltas = [delta, 0.5 * delta, 2.0 * delta]  # all signs agree
    found = run("masked_projection", base, deltas, density=1.0, variant="dual")
    close(found, run("orthogonal_projection", base, deltas, variant="dual"))
    assert float((found - naive_task_arithmetic(base, deltas, [1] * 3, [1] * 3)).norm()) > 0.1
