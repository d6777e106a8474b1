from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.errors import Cancelled
from orthomerge_core.optimize.copies import find_originals
from orthomerge_core.optimize.geometry import Floats, Geometry, Parents, is_acyclic
from orthomerge_core.optimize.search import exhaustive_search, local_search
from orthomerge_core.optimize.settings import OptimizeSettings
from orthomerge_core.optimize.tree import nearest_tree
from orthomerge_core.progress import Progress
from tests.oracles import naive_assignments, naive_orthogonality

ANY_GAIN = OptimizeSettings(min_gain=0.0)


def grow(seed: int, count: int, size: int = 24) -> list[Floats]:
    """A base and models that grew from it and from each other, with shared directions."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((2, size))
    models = [rng.standard_normal(size)]
    for i in range(count):
        parent = models[int(rng.integers(0, i + 1))]
        own = rng.standard_normal(size) + rng.normal(0, 1.0, 2) @ shared
        models.append(parent + float(rng.uniform(0.3, 1.5)) * own)
    return models


def geometry_of(models: list[Floats]) -> Geometry:
    deltas = np.stack([m - models[0] for m in models])
    return Geometry.of(deltas @ deltas.T, float(models[0] @ models[0]))


def with_base(parents: tuple[int, ...]) -> Parents:
    return np.asarray((0, *parents), dtype=np.intp)


families = st.builds(grow, st.integers(0, 10_000), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(models=families)
def test_the_tree_is_the_shortest_of_all_and_needs_no_admissibility(models: list[Floats]) -> None:
    geometry = geometry_of(models)
    tree = nearest_tree(geometry)
    lengths = [
        sum(np.linalg.norm(models[i] - models[p]) for i, p in enumerate(parents, 1))
        for parents in naive_assignments(models, admissible_only=False)
    ]
    assert geometry.norms(tree).sum() == pytest.approx(min(lengths), rel=1e-9)
    assert geometry.admissible[np.arange(1, len(models)), tree[1:]].all()


@settings(max_examples=60, deadline=None)
@given(models=families)
def test_exhaustive_search_finds_the_best_and_the_second_best(models: list[Floats]) -> None:
    geometry = geometry_of(models)
    found = exhaustive_search(geometry, ANY_GAIN, Progress())
    every = naive_assignments(models)
    scores = sorted((naive_orthogonality(models, p) for p in every), reverse=True)
    assert found.looked_at == len(every)
    assert found.objective == pytest.approx(scores[0], abs=1e-9)
    assert found.best == pytest.approx(scores[0], abs=1e-9)
    assert naive_orthogonality(models, found.parents[1:].tolist()) == pytest.approx(scores[0])
    if len(scores) > 1:
        assert found.second_best == pytest.approx(scores[1], abs=1e-9)
    else:
        assert found.second_best is None


@settings(max_examples=40, deadline=None)
@given(models=families, gain=st.sampled_from([0.0, 1e-3, 0.05]))
def test_a_small_gain_does_not_buy_longer_deltas(models: list[Floats], gain: float) -> None:
    geometry = geometry_of(models)
    found = exhaustive_search(geometry, OptimizeSettings(min_gain=gain), Progress())
    assert found.best - gain - 1e-12 <= found.objective <= found.best
    size = (geometry.norms(found.parents) ** 2).sum()
    for parents in naive_assignments(models):
        if naive_orthogonality(models, parents) > found.best - gain + 1e-9:
            assert size <= (geometry.norms(with_base(parents)) ** 2).sum() * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(models=families, gain=st.sampled_from([0.0, 1e-3]))
def test_local_search_ends_where_no_single_change_helps(models: list[Floats], gain: float) -> None:
    geometry = geometry_of(models)
    start = nearest_tree(geometry)
    found = local_search(geometry, start, OptimizeSettings(min_gain=gain), Progress())
    assert found.objective == pytest.approx(
        naive_orthogonality(models, found.parents[1:].tolist()), abs=1e-9
    )
    assert found.objective >= geometry.objective(start) - 1e-12
    steps = [
        naive_orthogonality(models, p)
        for p in naive_assignments(models)
        if sum(a != b for a, b in zip(p, found.parents[1:], strict=True)) == 1
    ]
    if steps:
        assert found.second_best == pytest.approx(max(steps), abs=1e-9)
        assert max(steps) <= found.objective + gain + 1e-9


@settings(max_examples=30, deadline=None)
@given(models=families, seed=st.integers(0, 99))
def test_the_order_of_models_changes_names_only(models: list[Floats], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(models) - 1) + 1
    shuffled = [models[0], *(models[i] for i in order)]
    one = exhaustive_search(geometry_of(models), ANY_GAIN, Progress())
    two = exhaustive_search(geometry_of(shuffled), ANY_GAIN, Progress())
    assert two.objective == pytest.approx(one.objective, abs=1e-12)
    assert nearest_length(shuffled) == pytest.approx(nearest_length(models), rel=1e-12)


def nearest_length(models: list[Floats]) -> float:
    geometry = geometry_of(models)
    return float(geometry.norms(nearest_tree(geometry)).sum())


@settings(max_examples=30, deadline=None)
@given(models=families, data=st.data())
def test_cosines_and_overlaps_equal_those_of_the_vectors(
    models: list[Floats], data: st.DataObject
) -> None:
    geometry = geometry_of(models)
    parents = with_base(data.draw(st.sampled_from(naive_assignments(models))))
    deltas = np.stack([models[i] - models[p] for i, p in enumerate(parents)][1:])
    unit = deltas / np.linalg.norm(deltas, axis=1, keepdims=True)
    assert geometry.cosines(parents) == pytest.approx(unit @ unit.T, abs=1e-9)
    node = data.draw(st.integers(1, geometry.models))
    others = np.delete(unit, node - 1, axis=0)
    for p, overlap in enumerate(geometry.overlaps(parents, node)):
        if p != node:
            mine = models[node] - models[p]
            wanted = ((others @ mine) ** 2).sum() / (mine @ mine)
            assert overlap == pytest.approx(wanted, abs=1e-9)


def test_cycles_are_seen() -> None:
    parents = np.array([[0, 0, 1, 2], [0, 2, 1, 0], [0, 2, 3, 1], [0, 1, 0, 0], [0, 3, 1, 0]])
    assert is_acyclic(parents).tolist() == [True, False, False, False, True]


def test_copies_hang_on_the_original_and_carry_nobody() -> None:
    rng = np.random.default_rng(1)
    base, one, own = rng.standard_normal((3, 400))
    models = [base, one + 0.01 * rng.standard_normal(400), one, one, one + 0.5 * own, base]
    geometry = geometry_of(models)
    tree = nearest_tree(geometry)
    original = find_originals(geometry, tree, [0.5, 0.6, 0.6, 0.5, 0.5], 0.1)
    assert original.tolist() == [0, 2, 2, 2, 4, 0]
    folded = geometry.fold(original)
    for found in (
        nearest_tree(folded),
        exhaustive_search(folded, ANY_GAIN, Progress()).parents,
        local_search(folded, nearest_tree(folded), ANY_GAIN, Progress()).parents,
    ):
        assert found.tolist() == [0, 2, 0, 2, 2, 0]
    assert folded.pairs == 1


def test_equally_small_changes_around_one_far_parent_are_no_copies() -> None:
    rng = np.random.default_rng(2)
    base, far = rng.standard_normal((2, 300))
    models = [base, base + 10 * far, *(base + 10 * far + rng.standard_normal((3, 300)))]
    geometry = geometry_of(models)
    original = find_originals(geometry, nearest_tree(geometry), [0.5] * 4, 0.2)
    assert original.tolist() == [0, 1, 2, 3, 4]


def test_the_person_can_stop_it() -> None:
    class Stop(Progress):
        def check(self) -> None:
            raise Cancelled()

    geometry = geometry_of(grow(0, 4))
    with pytest.raises(Cancelled, match="Stopped on request"):
        local_search(geometry, nearest_tree(geometry), ANY_GAIN, Stop())
    with pytest.raises(Cancelled, match="Stopped on request"):
        exhaustive_search(geometry, ANY_GAIN, Stop())


def test_seven_models_at_most_are_all_compared() -> None:
    models = [
        np.zeros(16),
        *(np.ones(16) + 1e-2 * np.random.default_rng(3).standard_normal((7, 16))),
    ]
    geometry = geometry_of(models)
    found = exhaustive_search(geometry, ANY_GAIN, Progress())
    assert found.looked_at == 8**6  # labelled trees on eight nodes (Cayley)
