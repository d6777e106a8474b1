from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from orthomerge_core.errors import RecipeError
from orthomerge_core.recipe.model import Row
from orthomerge_core.tune.scores import ForecastScores, parse_score
from tests.core.tune.small import analysis, recipe


def score(text: str, chosen=None) -> float:
    return ForecastScores(analysis(), [parse_score(text)])(chosen or recipe())[0]


def kept() -> np.ndarray:
    """Retention of plain addition at alpha 1, from the Gram: (G 1)_i / G_ii over all tensors."""
    found = analysis()
    gram = found.gram[:, 1:, 1:].sum(axis=0)
    return gram.sum(axis=1) / np.diag(gram)


def test_each_score_is_its_formula():
    shares = kept()
    found = analysis()
    gram = found.gram[:, 1:, 1:].sum(axis=0)
    assert score("forecast") == pytest.approx(np.sqrt(np.mean((shares - 1) ** 2)))
    assert score("retention=0.5") == pytest.approx(np.sqrt(np.mean((shares - 0.5) ** 2)))
    assert score("retention[ink=0.9, photo=50 %]") == pytest.approx(
        math.sqrt(((shares[0] - 0.9) ** 2 + (shares[2] - 0.5) ** 2) / 2)
    )
    assert score("equal") == pytest.approx(shares.std())
    assert score("weakest") == pytest.approx(shares.min())
    assert score("mean") == pytest.approx(shares.mean())
    assert score("drift") == pytest.approx(np.sqrt(gram.sum() / found.gram[:, 0, 0].sum()))
    assert score("cancellation") == pytest.approx(1 - gram.sum() / np.trace(gram))


def test_strength_is_in_every_score():
    half = replace(recipe(), strength=0.5)
    assert score("mean", half) == pytest.approx(0.5 * kept().mean())
    assert score("drift", half) == pytest.approx(0.5 * score("drift"))


def test_a_row_at_alpha_zero_counts_as_kept_little_and_one_that_is_off_does_not():
    one, two, three = recipe().rows
    zero = replace(recipe(), rows=(replace(one, alpha=0.0), two, three))
    off = replace(recipe(), rows=(replace(one, enabled=False), two, three))
    gram = analysis().gram[:, 1:, 1:].sum(axis=0)
    shares = gram[:, 1:].sum(axis=1) / np.diag(gram)
    assert score("mean", zero) == pytest.approx(shares.mean())
    assert score("mean", off) == pytest.approx(shares[1:].mean())


def test_what_has_no_forecast_has_no_score():
    assert math.isnan(score("forecast", recipe("ties")))
    assert math.isnan(score("mean", replace(recipe(), rows=(Row("ink", enabled=False),))))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wekest", 'score: nothing is called "wekest". Did you mean "weakest"?'),
        ("retention", 'score: nothing is called "retention"'),
        ("retention=x", 'expected a finite number, received "x"'),
        ("retention[ink]", 'score: "ink" names no target'),
    ],
)
def test_a_score_that_is_not_there_is_named(text: str, words: str):
    with pytest.raises(RecipeError) as caught:
        parse_score(text)
    assert words in str(caught.value)


def test_a_target_of_no_row_is_named():
    with pytest.raises(RecipeError, match=r'score: no row of "inc"\. Did you mean "ink"'):
        score("retention[inc=1]")
