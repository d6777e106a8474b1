"""Every metric on cases that can be worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.analysis.metrics.conflict_ratio import conflict_ratio
from orthomerge_core.analysis.metrics.cosine import cosine
from orthomerge_core.analysis.metrics.effective_rank import effective_rank, spread_word
from orthomerge_core.analysis.metrics.improvement import improvement
from orthomerge_core.analysis.metrics.new_information import new_information
from orthomerge_core.analysis.metrics.quality import grade, quality
from orthomerge_core.analysis.metrics.snr import HIGHEST_SNR, snr
from orthomerge_core.analysis.metrics.survival import survival


def test_cosine_of_known_vectors():
    v = np.array([[1.0, 0.0], [3.0, 3.0], [0.0, -2.0], [0.0, 0.0]])
    h = math.sqrt(0.5)
    expected = [[1, h, 0, 0], [h, 1, -h, 0], [0, -h, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(cosine(v @ v.T), expected, atol=1e-15)


def test_new_information_ignores_the_sign():
    np.testing.assert_allclose(new_information(np.array([1.0, 0.0, -0.6])), [0, 1, 0.64])


def test_conflict_ratio_counts_only_shared_elements():
    active = np.array([[4, 2], [2, 0]])
    conflict = np.array([[0, 1], [1, 0]])
    np.testing.assert_array_equal(conflict_ratio(conflict, active), [[0, 0.5], [0.5, 0]])


@pytest.mark.parametrize(
    ("energies", "rank"),
    [
        ([9.0, 1.0], 0.5),
        ([8.9, 1.1], 1.0),
        ([1.0] * 10, 0.9),
        ([5.0, 0.0, 0.0, 0.0], 0.25),
    ],
)
def test_effective_rank(energies, rank):
    assert effective_rank(np.array(energies)) == rank


def test_spread_words():
    words = [spread_word(r) for r in (0.29, 0.3, 0.6, 0.61, math.nan)]
    assert words == ["focused", "moderate", "moderate", "diffuse", "unknown"]


def test_snr_is_leading_tenth_against_the_rest():
    assert snr(np.array([18.0] + [1.0] * 9)) == 2.0
    assert snr(np.array([4.0, 1.0])) == 4.0  # at least one value leads
    assert snr(np.array([6.0, 4.0] + [0.25] * 18)) == pytest.approx(10 / 4.5)
    assert snr(np.array([7.0] + [0.0] * 9)) == HIGHEST_SNR


def test_no_energy_has_no_figures():
    assert math.isnan(snr(np.zeros(4))) and math.isnan(effective_rank(np.zeros(4)))


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_survival_of_alike_and_unrelated(count):
    np.testing.assert_allclose(survival(np.ones((count, count))), 100.0)
    np.testing.assert_allclose(survival(np.eye(count)), 100.0 / math.sqrt(count))


def test_survival_where_everything_cancels():
    np.testing.assert_array_equal(survival(np.array([[1.0, -1.0], [-1.0, 1.0]])), [0, 0])


def test_survival_against_its_definition():
    v = torch.randn(5, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = v / v.norm(dim=1, keepdim=True)
    whole = u.sum(0)
    expected = 100 * (u @ whole) / whole.norm()
    np.testing.assert_allclose(survival(cosine((v @ v.T).numpy())), expected.numpy())


def test_improvement():
    assert improvement(0.28, 1.0) == pytest.approx(0.72)
    assert improvement(2.0, 1.0) == -1.0 and improvement(1.0, 0.0) == 0.0


def test_quality_adds_its_terms():
    # 0.4 · 0.8 + 0.4 · log10(10)/2 + (50 − 30)/200 − (7.5 − 5)/50
    assert quality(0.2, 10.0, 50.0, 7.5) == pytest.approx(0.32 + 0.2 + 0.1 - 0.05)
    assert quality(0.0, 1e12, 100.0, 0.0) == 1.0
    assert quality(1.0, 1e-6, 0.0, 1e9) == 0.0
    assert math.isnan(quality(math.nan, 1.0, 1.0, 1.0))


@given(st.floats(0, 1), st.floats(1e-9, 1e12), st.floats(-100, 100), st.floats(0, 1e6))
def test_quality_stays_in_range(rank, ratio, lasting, outlier):
    assert 0.0 <= quality(rank, ratio, lasting, outlier) <= 1.0


def test_grades_change_above_their_limits():
    values = (0.81, 0.80, 0.66, 0.65, 0.51, 0.5, 0.36, 0.35, 0.0)
    assert [grade(v) for v in values] == ["A+", "A", "A", "B", "B", "C", "C", "D", "D"]
    assert grade(math.nan) == "n/a"
