from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.tune.parameters import parse_parameters
from orthomerge_core.tune.preference import bradley_terry
from orthomerge_core.tune.results import Finished, best_so_far, front, importances
from tests.core.tune.small import recipe

SCORES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


def trials(scores, values=None) -> list[Finished]:
    return [
        Finished(i, {"ink alpha": (values or scores)[i]}, tuple(map(float, found)))
        for i, found in enumerate(scores)
    ]


@given(SCORES)
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(scores):
    made = trials(scores)
    kept = front(made, ("minimize", "maximize"))

    def beats(a: Finished, b: Finished) -> bool:
        better = (a.scores[0] <= b.scores[0], a.scores[1] >= b.scores[1])
        return all(better) and (a.scores != b.scores or a.number < b.number)

    assert {t.number for t in kept} == {
        b.number for b in made if not any(beats(a, b) for a in made if a is not b)
    }


def test_with_one_score_the_front_is_the_first_best():
    assert [t.number for t in front(trials([(3,), (1,), (1,)]), ("minimize",))] == [1]
    assert [t.number for t in front(trials([(3,), (1,)]), ("maximize",))] == [0]
    assert best_so_far(trials([(3,), (1,), (2,)]), "minimize") == [3.0, 1.0, 1.0]
    assert best_so_far(trials([(3,), (1,), (4,)]), "maximize") == [3.0, 3.0, 4.0]


def test_importance_is_epsilon_squared_of_the_groups():
    parameters = parse_parameters(["method = average, slerp, ties"], recipe())
    rng = np.random.default_rng(0)
    labels = ["average", "slerp", "ties"] * 4
    scores = [float({"average": 0, "slerp": 1, "ties": 5}[x] + rng.normal(0, 0.5)) for x in labels]
    made = [
        Finished(i, {"method": x}, (s,))
        for i, (x, s) in enumerate(zip(labels, scores, strict=True))
    ]
    groups = [[s for s, x in zip(scores, labels, strict=True) if x == y] for y in set(labels)]
    total = sum((s - np.mean(scores)) ** 2 for s in scores)
    inside = sum(sum((s - np.mean(g)) ** 2 for s in g) for g in groups)
    between, noise = total - inside, inside / (len(scores) - 3)
    expected = (between - 2 * noise) / total
    assert importances(made, parameters)["method"] == pytest.approx(expected)


def test_a_parameter_that_matters_is_told_from_one_that_does_not():
    parameters = parse_parameters(["ink.alpha = 0:1", "paint.alpha = 0:1"], recipe())
    rng = np.random.default_rng(1)
    made = []
    for i in range(60):
        x, y = rng.random(2)
        made.append(Finished(i, {"ink alpha": x, "paint alpha": y}, (float((x - 0.3) ** 2),)))
    found = importances(made, parameters)
    assert found["ink alpha"] > 0.8 and found["paint alpha"] < 0.2
    assert set(importances(made[:7], parameters).values()) == {None}


def test_bradley_terry_is_the_maximum_that_its_gradient_says():
    games = [(0, 1, 1.0), (0, 1, 1.0), (1, 2, 1.0), (0, 2, 0.5), (2, 1, 1.0)]
    found = bradley_terry(4, games)
    for item in range(4):
        slope = -found[item]
        for a, b, won in games:
            chance = 1 / (1 + np.exp(found[b] - found[a]))
            slope += (won - chance) * ((item == a) - (item == b))
        assert slope == pytest.approx(0.0, abs=1e-8)
    assert found[0] > found[2] and found[0] > found[1]
    assert found[3] == 0.0 and found.sum() == pytest.approx(0.0, abs=1e-9)


def test_bradley_terry_finds_the_order_of_noisy_choices():
    rng = np.random.default_rng(0)
    strengths = np.array([1.5, 0.5, -0.5, -1.5])
    games = []
    for _ in range(400):
        a, b = rng.choice(4, 2, replace=False)
        games.append(
            (int(a), int(b), float(rng.random() < 1 / (1 + np.exp(strengths[b] - strengths[a]))))
        )
    found = bradley_terry(4, games, spread=10.0)
    assert np.abs(found - strengths).max() < 0.4
    assert bradley_terry(3, []).tolist() == [0.0, 0.0, 0.0]
