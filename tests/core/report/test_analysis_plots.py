"""The picture of an analysis: its size, its colours, and names no font should choke on."""

import numpy as np
import pytest

from orthomerge_core.analysis.stream import analyze
from orthomerge_core.report.analysis_plots import heatmaps
from orthomerge_core.report.plot_look import DARK, LIGHT, shortened
from tests.core.analysis.family import aligned, family


def analysis(count, rank_samples=1):
    return analyze(aligned(*family(count)), rank_samples=rank_samples)


@pytest.mark.parametrize("count", [1, 3, 12, 32])
def test_it_is_1024_wide_and_grows_with_the_models(count):
    picture = heatmaps(analysis(count))
    assert picture.dtype == np.uint8 and picture.shape[1:] == (1024, 3)
    assert 500 < picture.shape[0] < 3000


@pytest.mark.parametrize(("dark", "look"), [(False, LIGHT), (True, DARK)])
def test_the_paper_is_light_or_dark(dark, look):
    picture = heatmaps(analysis(2), dark=dark)
    expected = [int(look.paper[i : i + 2], 16) for i in (1, 3, 5)]
    assert picture[0, 0].tolist() == expected
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_the_same_analysis_gives_the_same_picture():
    found = analysis(2)
    np.testing.assert_array_equal(heatmaps(found), heatmaps(found))


def test_names_with_dollars_other_scripts_and_great_length():
    base, models = family(4)
    names = ("$10^{x$", "老照片风格", "a" * 200, "emoji \U0001f600")
    renamed = dict(zip(names, models.values(), strict=True))
    assert heatmaps(analyze(aligned(base, renamed))).shape[1] == 1024


def test_without_spectra_or_change_it_still_draws():
    base, models = family(2)
    models["m0"] = {k: t.clone() for k, t in base.items()}
    assert heatmaps(analyze(aligned(base, models), rank_samples=0)).shape[1] == 1024


def test_long_names_keep_both_ends():
    assert shortened("short", 20) == "short"
    assert shortened("abcdefghijklmnop", 9) == "abcd…mnop"
