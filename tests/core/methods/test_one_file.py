"""A new method is one file: put into the package, it is found, checked, forecast and merged."""

import importlib
import sys

import pytest
import torch

from orthomerge_core import methods
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.forecast.forecast import forecast
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.recipe.codec import dumps, loads
from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from tests.core.forecast.forecast_fixture import reduced

SOURCE = '''
"""Half: half of the sum."""

import torch

from orthomerge_core.methods.contract import LinearMethod
from orthomerge_core.methods.registry import register
from orthomerge_core.params import number


@register
class Half(LinearMethod):
    """W = B + s Σ r_i α_i δ_i."""

    name = "half"
    label = "Half"
    summary = "Half of the sum."
    params = (number("share", 0.5, 0.0, 1.0, "The share."),)

    def coefficients(self, gram, alphas, repeats, options):
        share = self.check_options(options)["share"]
        return torch.tensor([share * a * r for a, r in zip(alphas, repeats)], dtype=torch.float64)
'''


@pytest.fixture
def half(tmp_path, monkeypatch):
    """The method of `SOURCE`, as long as the test runs."""
    (tmp_path / "half_for_a_test.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    all_methods.cache_clear()
    yield all_methods()["half"]
    all_methods.cache_clear()
    sys.modules.pop(f"{methods.__name__}.half_for_a_test", None)


def test_it_is_read_from_a_recipe_and_written_to_one(half):
    rows = (Row("a"), Row("b", alpha=0.5))
    refs = {name: ModelRef(f"{name}.safetensors") for name in "ab"}
    recipe = Recipe("base.safetensors", refs, rows, method="half", options={"share": 0.25})
    assert loads(dumps(recipe)) == recipe


def test_its_forecast_is_exact_without_a_line_elsewhere(half):
    found = forecast(reduced(), [Row("a")], "half")
    assert found.exact
    assert found.rows[0].retention == pytest.approx(0.5)
    assert half.to_json()["forecast"] == {"formula": "", "exact": True, "drop": "", "spread": ""}


def test_the_executor_plans_and_runs_it(half, tmp_path):
    from orthomerge_core.execute.run import run_merge
    from tests.core.execute.conftest import live_spec, recipe_for

    g = torch.Generator().manual_seed(0)
    base = {"x.weight": torch.randn(8, 8, generator=g)}
    tune = {"x.weight": base["x.weight"] + torch.randn(8, 8, generator=g)}
    spec = live_spec({"base": base, "a": tune})
    with plan_merge(recipe_for(spec, Row("a"), method="half"), spec, output_dtype="fp32") as plan:
        merged = run_merge(plan)
    expected = 0.5 * (base["x.weight"] + tune["x.weight"])
    torch.testing.assert_close(merged.state_dict["x.weight"], expected)
