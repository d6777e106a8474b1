"""What the table forecasts from the Gram is what a linear merge measures."""

import pytest

from orthomerge_core.analysis.stream import analyze
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.forecast.forecast import forecast
from orthomerge_core.forecast.reduction import reduce_for_table
from orthomerge_core.keys.opening import open_set
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for

ROWS = (Row("child", "a", alpha=0.8), Row("a", repeat=2), Row("b", "child", alpha=-0.5))


@pytest.mark.parametrize("method", ["task_arithmetic", "average", "orthogonal_projection"])
@pytest.mark.parametrize("layers", ["", "blocks.0=0.5, default=0"])
def test_measured_retention_is_the_forecast(family, method, layers):
    rows = tuple(Row(r.model, r.delta_from, r.alpha, repeat=r.repeat, layers=layers) for r in ROWS)
    spec = live_spec(family)
    with plan_merge(recipe_for(spec, *rows, method=method), spec) as plan:
        measured = run_merge(plan).report
    with open_set(live_spec(family), find_duplicates=False) as aligned:
        found = analyze(aligned, rank_samples=0)
    told = forecast(reduce_for_table(found), rows, method, {})
    for row, label in zip(told.rows, measured.retention, strict=True):
        assert measured.retention[label] == pytest.approx(row.retention, abs=1e-5), label
