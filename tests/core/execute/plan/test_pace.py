"""Estimates of time follow what merges took on this machine."""

import pytest

from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.plan.cost import Estimate
from orthomerge_core.execute.plan.pace import Pace
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for


def test_nothing_is_known_at_first(tmp_path):
    for pace in (Pace(None), Pace(tmp_path)):
        assert pace.factor("ties") == 1.0
    Pace(None).learn("ties", "cpu", 1.0, 3.0)
    assert list(tmp_path.iterdir()) == []


def test_the_factor_is_the_mean_of_what_was_taken_over_what_was_stated(tmp_path):
    Pace(tmp_path).learn("ties", "cpu", 1.0, 4.0)
    assert Pace(tmp_path).factor("ties") == pytest.approx(4.0)
    Pace(tmp_path).learn("ties", "cpu", 2.0, 2.0)
    assert Pace(tmp_path).factor("ties") == pytest.approx(2.0)  # the geometric mean of 4 and 1
    assert Pace(tmp_path).factor("ties", "cuda") == Pace(tmp_path).factor("dare") == 1.0


def test_recent_merges_count_more(tmp_path):
    pace = Pace(tmp_path)
    for _ in range(50):
        pace.learn("ties", "cpu", 1.0, 8.0)
    for _ in range(8):
        pace.learn("ties", "cpu", 1.0, 1.0)
    assert 1.0 < pace.factor("ties") < 1.3


def test_what_is_too_short_teaches_nothing(tmp_path):
    Pace(tmp_path).learn("ties", "cpu", 0.01, 0.19)
    Pace(tmp_path).learn("ties", "cpu", 0.0, 5.0)
    assert Pace(tmp_path).factor("ties") == 1.0


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"log": null, "count": 1}', b'{"log": 99, "count": 1}']
)
def test_a_damaged_entry_counts_as_unknown(tmp_path, text):
    pace = Pace(tmp_path)
    pace.learn("ties", "cpu", 1.0, 4.0)
    (path,) = tmp_path.iterdir()
    path.write_bytes(text)
    assert Pace(tmp_path).factor("ties") == 1.0
    pace._folder.put("ties-cpu", {}, text)
    assert Pace(tmp_path).factor("ties") == 1.0


def test_a_plan_multiplies_its_seconds_and_nothing_else(family, tmp_path):
    spec = live_spec(family)
    recipe = recipe_for(spec, Row("a"), method="ties")
    pace = Pace(tmp_path)
    pace.learn("ties", "cpu", 1.0, 3.0)
    with plan_merge(recipe, spec, pace=pace) as plan:
        assert plan.estimate.seconds == pytest.approx(3.0 * plan.stated.seconds)
        assert plan.estimate.ram_bytes == plan.stated.ram_bytes
    assert Estimate(seconds=2.0).at_pace(1.5) == Estimate(seconds=3.0)


@pytest.mark.parametrize("method", ["orthomerge", "orthogonal_projection"])
def test_only_merges_that_did_all_the_work_teach(family, tmp_path, method, monkeypatch):
    taught = []
    monkeypatch.setattr(Pace, "learn", lambda *told: taught.append(told[1]))
    spec = live_spec(family)
    with plan_merge(recipe_for(spec, Row("a"), Row("b"), method=method), spec) as plan:
        for _ in range(2):
            run_merge(plan, Caches(tmp_path))
    assert taught == [method]
