"""Energies against full SVD, which matrices are sampled, and what is not computed twice."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.analysis.metrics.effective_rank import effective_rank
from orthomerge_core.analysis.metrics.snr import snr
from orthomerge_core.analysis.spectrum import energies, matrix_shape, sample_keys, staircase
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.errors import Cancelled
from orthomerge_core.progress import Progress
from tests.core.analysis.family import aligned, family
from tests.oracles import naive_energies


def low_rank(rows, cols, rank, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, rank, generator=g) @ torch.randn(rank, cols, generator=g)


@pytest.mark.parametrize(
    "matrix",
    [
        torch.randn(30, 90, generator=torch.Generator().manual_seed(1)),
        torch.randn(90, 30, generator=torch.Generator().manual_seed(2)) * 1e-6,
        low_rank(60, 60, 3),
        low_rank(40, 80, 4)
        + 1e-3 * torch.randn(40, 80, generator=torch.Generator().manual_seed(3)),
        low_rank(520, 300, 40) * 1e-4,
        torch.randn(2, 2, generator=torch.Generator().manual_seed(4)) * 1e-25,
        torch.randn(40, 25, generator=torch.Generator().manual_seed(5)) * 1e30,
        low_rank(80, 120, 1),
        low_rank(64, 96, 64, seed=6) * torch.logspace(0, -3, 96),
    ],
    ids=["wide", "tall", "rank3", "noisy", "blocks", "tiny", "huge", "rank1", "steep"],
)
def test_energies_agree_with_full_svd(matrix):
    found, exact = energies(matrix, Progress()), naive_energies(matrix)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-6 * exact[0])
    assert np.all(np.diff(found) <= 0)
    assert effective_rank(found) == effective_rank(exact)
    if snr(exact) < 1e9:
        assert snr(found) == pytest.approx(snr(exact), rel=1e-3)
    else:
        assert snr(found) > 1e9


def test_energies_of_nothing():
    assert energies(torch.zeros(3, 5), Progress()).tolist() == [0, 0, 0]


@given(
    count=st.integers(2, 4000),
    slope=st.floats(0.0, 30.0),
    seed=st.integers(0, 99),
    tail=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_a_staircase_keeps_what_figures_need(count, slope, seed, tail):
    noise = np.random.default_rng(seed).exponential(1.0, count)
    curve = np.sort(np.exp(-slope * np.arange(count) / count) * noise)[::-1]
    curve[count // 2 + 1 :] *= float(tail)  # rank-deficient where there is no tail
    found = staircase(curve)
    assert effective_rank(found) == pytest.approx(effective_rank(curve), abs=1.01 / count * 1e-6)
    assert snr(found) == pytest.approx(snr(curve), rel=1e-8)
    assert found.sum() == pytest.approx(curve.sum()) and len(found) == count
    np.testing.assert_allclose(found[:16], curve[:16], rtol=1e-9)
    assert np.all(np.diff(found) <= 0) and len(np.unique(found)) <= 120


def test_a_staircase_of_nothing():
    assert staircase(np.zeros(5)).tolist() == [0] * 5


def test_cancel_works_inside():
    class Stop(Progress):
        def check(self):
            raise Cancelled

    with pytest.raises(Cancelled):
        energies(torch.randn(300, 300), Stop())


def test_a_stop_is_asked_for_all_along():
    """At least once per two million elements, from the very first pass over the matrix."""

    class Count(Progress):
        seen = 0

        def check(self):
            self.seen += 1

    progress = Count()
    energies(torch.zeros(4096, 2048), progress)  # only looked through for its largest element
    assert progress.seen >= 4


def test_the_largest_matrices_are_sampled_evenly_among_equals():
    shapes = {f"b{i}.weight": (8, 8) for i in range(5)}
    shapes |= {"big.weight": (20, 20), "long.bias": (9999,), "row.weight": (1, 9999)}
    opened = aligned(*family(1, shapes=shapes))
    assert sample_keys(opened, 4) == ("b0.weight", "b2.weight", "b4.weight", "big.weight")
    assert sample_keys(opened, 99) == (*(f"b{i}.weight" for i in range(5)), "big.weight")
    assert sample_keys(opened, 0) == ()


def test_matrix_shapes():
    shapes = [(), (7,), (3, 4), (8, 4, 3, 3), (0, 4)]
    assert [matrix_shape(s) for s in shapes] == [(1, 1), (1, 7), (3, 4), (8, 36), (0, 4)]


def test_spectra_of_an_analysis():
    base, models = family(2, shapes={"a.weight": (12, 30), "b.conv": (6, 5, 3, 3), "c.bias": (9,)})
    del models["m1"]["a.weight"]
    analysis = analyze(aligned(base, models), rank_samples=2)
    assert [s.key for s in analysis.spectra] == ["a.weight", "b.conv"]
    for spectrum in analysis.spectra:
        for row, model in zip(spectrum.energies, models.values(), strict=True):
            if spectrum.key in model:
                delta = (model[spectrum.key] - base[spectrum.key]).flatten(1)
                np.testing.assert_allclose(row, naive_energies(delta), rtol=1e-4)
            else:
                assert not row.any()


def test_known_spectra_are_not_read_again():
    base, models = family(2, shapes={"a.weight": (12, 30)})
    first = analyze(aligned(base, models))
    known = {"m0": {"a.weight": first.spectra[0].energies[0]}}
    opened = aligned(base, models)
    for model in opened.models:
        model.source.reads.clear()
    second = analyze(opened, known_spectra=known)
    np.testing.assert_array_equal(first.spectra[0].energies, second.spectra[0].energies)
    assert len(opened.models[0].source.reads) == 1 and len(opened.models[1].source.reads) == 2
