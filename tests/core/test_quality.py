"""The pure parts of `benchmarks/quality.py`."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from benchmarks.merge_quality.contenders import CONTENDERS, PUBLISHED, QUICK, VARIANTS, Contender
from benchmarks.merge_quality.judge import MARKS, SHAPES, batch
from benchmarks.merge_quality.latent import to_latent, to_picture
from benchmarks.merge_quality.learn import held_out, nearness_to_all
from benchmarks.merge_quality.ledger import Ledger, family_digest
from benchmarks.merge_quality.merging import rests_at
from benchmarks.merge_quality.painter import simple_sigmas
from benchmarks.merge_quality.pictures import STYLES, draw
from benchmarks.merge_quality.scores import gap_closed, mean_sd, recovered_share, score, spearman
from benchmarks.merge_quality.skills import SUBSETS, TILT_RAD, composed_style
from benchmarks.merge_quality.summary import Judged, cell, complete, over_families
from benchmarks.merge_quality.work import DRAWN, Task, marks, together
from orthomerge_core.recipe.check import problems
from scripts.support import family


def test_recovered_share_by_hand():
    assert recovered_share(1.0, 1.0, 0.2) == 0.0
    assert recovered_share(1.0, 0.2, 0.2) == 1.0
    assert recovered_share(1.0, 0.6, 0.2) == pytest.approx(0.5)
    assert recovered_share(1.0, 1.4, 0.2) == pytest.approx(-0.5)


def test_a_fine_tune_that_learnt_nothing_is_named():
    with pytest.raises(ValueError, match=r"loss 0\.5 is not below the base's 0\.5"):
        recovered_share(0.5, 0.4, 0.5)


def test_a_measurement_becomes_a_score():
    target = "composed:ink+star"
    base = {"losses": {"base": 0.1, "ink": 0.5, "star": 0.4, target: 0.8}}
    alone = {
        "base": base,
        "ink": {"losses": {"ink": 0.1}},
        "star": {"losses": {"star": 0.2}},
    }
    found = {
        "losses": {"base": 0.2, "ink": 0.3, "star": 0.2, target: 0.2},
        "marks": {"outline": 0.75, "star": 0.5, "right": 0.9},
        "together": {"ink+star": 0.25},
        "forecast": {"ink": 0.8, "star": None},
    }
    made = score(("ink", "star"), found, alone)
    assert made.recovered == pytest.approx({"ink": 0.5, "star": 1.0})
    assert made.composed == pytest.approx(gap_closed(0.8, 0.2)) == pytest.approx(0.75)
    assert made.shown == {"ink": 0.75, "star": 0.5}
    assert (made.together, made.right, made.forgetting) == (0.25, 0.9, pytest.approx(2.0))
    assert made.kept == {"ink": 0.8, "star": None}


def test_rank_correlation_by_hand():
    assert spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1.0)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)  # a tie: 1.5, 1.5, 3
    assert math.isnan(spearman([1, 1], [1, 2]))


def test_mean_and_deviation():
    assert mean_sd([1.0, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert mean_sd([5.0]) == (5.0, 0.0)
    assert cell((0.624, 0.031)) == "0.62 ± 0.03"
    assert cell(None) == "–"


def test_nearness_is_the_recovered_share_of_an_even_parabola():
    rng = np.random.default_rng(3)
    deltas, change = rng.standard_normal((3, 7)), rng.standard_normal(7)
    norms2 = (deltas**2).sum(axis=1)
    kept = deltas @ change / norms2
    expected = np.mean(1 - ((change - deltas) ** 2).sum(axis=1) / norms2)
    found = nearness_to_all(kept.tolist(), norms2.tolist(), float(change @ change), 1.0)
    assert found == pytest.approx(float(expected))
    alone = nearness_to_all([1.0], [4.0], 9.0, 0.0)
    assert alone == 1.0


def test_a_predictor_is_tested_where_it_was_not_chosen():
    figures = {"a": {"1": 0.9, "2": 0.9, "3": 0.1}, "b": {"1": 0.5, "2": 0.6, "3": 0.6}}
    assert held_out(figures) == {"1": ("b", 0.5), "2": ("b", 0.6), "3": ("a", 0.1)}
    assert held_out({"a": {"1": 0.9}}) == {}


@pytest.mark.parametrize("count", [2, 5])
def test_the_published_factor_follows_from_mean_and_sum(count):
    generator = torch.Generator().manual_seed(2)
    turned, rests = torch.randn(3, 4, generator=generator), torch.randn(3, 4, generator=generator)
    found = rests_at(turned + rests / count, turned + rests, count, 0.2)
    torch.testing.assert_close(found, turned + 0.2 * rests)


def test_results_survive_a_stop(tmp_path):
    ledger = Ledger(tmp_path / "new" / "results.jsonl")
    ledger.add(Ledger.key("a", 1), {"loss": 0.5})
    ledger.add(Ledger.key("b", 1), {"loss": 0.25})
    with ledger.path.open("a", encoding="utf-8") as file:
        file.write('{"key": "cut o')
    again = Ledger(ledger.path)
    assert len(again) == 2 and again[Ledger.key("a", 1)] == {"loss": 0.5}
    again.add(Ledger.key("a", 1), {"loss": 0.75})
    assert Ledger(ledger.path)[Ledger.key("a", 1)] == {"loss": 0.75}
    assert Ledger.key("c") not in again


def test_a_result_belongs_to_weights_subset_and_options(tmp_path):
    (tmp_path / "base.safetensors").write_bytes(b"one")
    first = family_digest(tmp_path)
    (tmp_path / "base.safetensors").write_bytes(b"two")
    assert family_digest(tmp_path) != first
    keys = {
        Task(tmp_path, digest, subset, contender).key
        for digest in ("x", "y")
        for subset in SUBSETS
        for contender in (*CONTENDERS, *VARIANTS)
    }
    assert len(keys) == 2 * len(SUBSETS) * len((*CONTENDERS, *VARIANTS))


def test_every_contender_is_a_valid_recipe():
    for subset in SUBSETS:
        for contender in (*CONTENDERS, *VARIANTS):
            method = "orthomerge" if contender.method == PUBLISHED else ""
            assert problems(contender.recipe(subset, method)) == []
    assert all(contender in CONTENDERS for contender in QUICK)


def test_the_judge_learns_from_every_combination():
    generator = torch.Generator().manual_seed(0)
    drawn, shapes, colours, truth = batch(generator, each=5)
    assert drawn.shape == (3 * 2 * 2 * 2 * 5, 3, 16, 16)
    assert len(shapes) == len(colours) == len(truth) == len(drawn)
    circle = shapes == SHAPES.index("circle")
    tilt = MARKS.index("tilt")
    assert truth[circle, tilt].isnan().all() and not truth[~circle].isnan().any()
    grey = truth[:, MARKS.index("grey")] == 1
    corner = drawn[:, :, 0, 0].mean(dim=1)
    assert float(corner[grey].min()) > 0.39 and float(corner[~grey].max()) < 0.13


def test_a_composed_picture_shows_everything():
    style = composed_style(("ink", "ink-fine", "paint", "photo"))
    assert (style.outline, style.tilt_rad, style.ground, style.stripes) == (
        1.6,
        TILT_RAD,
        0.4,
        True,
    )
    assert "star" not in style.shapes and tuple(composed_style(("star",)).shapes) == ("star",)


def test_what_pictures_show_is_counted_where_it_can_be_seen():
    star = torch.tensor(["star" in p for p in DRAWN])
    circle = torch.tensor(["circle" in p for p in DRAWN])
    every = torch.ones(len(DRAWN), dtype=torch.bool)
    seen = {
        "outline": ~star, "tilt": ~circle & ~star, "stripes": ~every, "grey": every,
        "star": star, "right": every,
    }  # fmt: skip
    shares = marks(seen)
    assert shares == {
        "outline": 1.0, "tilt": 1.0, "stripes": 0.0, "grey": 1.0, "star": 1.0, "right": 1.0,
    }  # fmt: skip
    assert together(seen, ("ink", "photo")) == 1.0
    assert together(seen, ("ink", "photo", "star")) == 0.0  # outlines are missing on the stars
    assert together(seen, ("photo", "ink-fine")) == 1.0


def test_the_noise_levels_are_comfyuis_simple_ones():
    sigmas = simple_sigmas(12)
    assert len(sigmas) == 13 and sigmas[0] == 1.0 and sigmas[-1] == 0.0
    t = 1 - 83 / 1000  # the second of 12 is level 1000 - int(1000 / 12)
    assert sigmas[1] == pytest.approx(3 * t / (1 + 2 * t))


def test_pictures_survive_the_latent():
    drawn = draw(["a red star", "a blue cross"], STYLES["joint"], torch.Generator().manual_seed(1))
    torch.testing.assert_close(to_picture(to_latent(drawn)), drawn)


def test_means_are_over_families_of_means_over_subsets():
    one, other = Contender("average"), Contender("ties")

    def entry(name, subset, contender, composed):
        found = {"losses": {}, "marks": {}}
        made = score_of(composed)
        return Judged(name, family.WEIGHTS, subset, contender, made, found)

    def score_of(composed):
        target = "composed:ink+star"
        losses = {"base": 1.0, "ink": 0.5, "star": 0.5, target: 1.0 - composed}
        low = {"losses": {"ink": 0.1, "star": 0.1}}
        base = {"losses": losses | {"ink": 1.0, "star": 1.0, target: 1.0}}
        shown = {"outline": 1.0, "star": 1.0, "right": 1.0}
        found = {"losses": losses, "marks": shown, "together": {"ink+star": 1.0}}
        return score(("ink", "star"), found, {"base": base, "ink": low, "star": low})

    a, b = SUBSETS[0], SUBSETS[1]
    entries = [
        entry("1", a, one, 0.2), entry("1", b, one, 0.4),
        entry("2", a, one, 0.4), entry("2", b, one, 0.8),
        entry("1", a, other, 0.5),
    ]  # fmt: skip
    composed = lambda s: s.composed  # noqa: E731  a metric is a function of a score
    mean, sd = over_families(entries, composed, one, [a.name, b.name])
    assert mean == pytest.approx(0.45) and sd == pytest.approx(0.3 / math.sqrt(2))
    assert over_families(entries, composed, other, [a.name, b.name]) is None
    assert complete(entries, [a.name, b.name]) == [one]


def test_contender_keys_are_json():
    method, alpha, options = json.loads(Contender("ties", 2.0, {"density": 0.2}).key)
    assert (method, alpha, options) == ("ties", 2.0, {"density": 0.2})
