"""Weights of any finite size: every merge ends, and every figure of it is finite."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.methods.registry import all_methods, get_method
from orthomerge_core.recipe.model import OUTPUT_DTYPES, Row
from orthomerge_core.report.merge_text import merge_report
from tests.core.execute.conftest import live_spec, recipe_for

IN_MEMORY = [dtype for dtype in OUTPUT_DTYPES if not dtype.startswith("gguf")]
SIZES = [0.0, 1e-45, 1e-38, 1e-20, 1.0, 1e10, 1e20, 1e24, 1e30, 3e38]


def merged(models, method, output="base", alpha=0.7):
    spec = live_spec(models)
    rows = [Row(name, alpha=alpha) for name in models if name != "base"]
    rows = rows[: get_method(method).max_rows]
    with plan_merge(recipe_for(spec, *rows, method=method, output_dtype=output), spec) as plan:
        return run_merge(plan)


def family(base: float, one: float, whole: bool) -> dict:
    """Three models of a 32 × 16 matrix and a vector, with weights of these sizes."""
    generator = torch.Generator().manual_seed(0)

    def tensors(scale: float, spike: float) -> dict:
        matrix = torch.randn(32, 16, generator=generator) * (scale if whole else 0.02)
        matrix[3, 5] = spike
        matrix = matrix.clamp(-3.3e38, 3.3e38)
        return {"x.weight": matrix, "x.bias": matrix[:, 0].clone()}

    return {"base": tensors(base, base), "a": tensors(one, one), "b": tensors(one, -one)}


def all_numbers(value):
    """Every number in plain JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from all_numbers(item)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("method", sorted(all_methods()))
@pytest.mark.parametrize("whole", [False, True], ids=["one weight", "all weights"])
@given(base=st.sampled_from(SIZES), one=st.sampled_from(SIZES), output=st.sampled_from(IN_MEMORY))
@settings(max_examples=25, deadline=None)
def test_every_merge_of_finite_weights_ends_with_finite_figures(method, whole, base, one, output):
    found = merged(family(base, one, whole), method, output)
    told = found.report.to_json()
    json.dumps(told, allow_nan=False)
    assert all(math.isfinite(number) for number in all_numbers(told))
    assert "inf %" not in merge_report(found.report) and "nan" not in merge_report(found.report)
    for key in ("x.weight", "x.bias"):
        scale = found.state_dict.get(f"{key}_scale", torch.tensor(1.0))
        assert torch.isfinite(found.state_dict[key].float() * scale).all(), key


@pytest.mark.parametrize("output", ["fp16", "fp8_e4m3fn"])
def test_weights_beyond_the_range_of_the_output_are_counted(output):
    models = {"base": {"x.bias": torch.ones(8)}, "a": {"x.bias": torch.ones(8)}}
    models["a"]["x.bias"][:3] = torch.tensor([1e24, -7e4, 65504.0])
    found = merged(models, "task_arithmetic", output, alpha=1.0)
    notes = [note for note in found.report.notes if "clipped" in note]
    assert notes == (
        ["2 weights were clipped to the range of F16, ±65504."] if output == "fp16" else []
    )


def test_a_large_base_weight_is_merged_as_a_small_one():
    """A power of two goes through every method unchanged."""
    for method in ("orthomerge", "slerp", "ties", "geometric_median"):
        small = family(0.02, 0.02, whole=True)
        large = {
            name: {key: tensor * 2.0**70 for key, tensor in tensors.items()}
            for name, tensors in small.items()
        }
        wanted, found = (merged(m, method, "fp32").state_dict for m in (small, large))
        change = wanted["x.weight"] - small["base"]["x.weight"]
        error = found["x.weight"] / 2.0**70 - wanted["x.weight"]
        assert error.norm() <= 1e-5 * change.norm() + 1e-7, method
