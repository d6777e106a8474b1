"""Retention of what is written: measured on the stored weights, after the output cast."""

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.opening import open_source
from orthomerge_core.recipe.model import OUTPUT_DTYPES, Row, TextureBoost
from tests.core.execute.conftest import live_spec, recipe_for
from tests.oracles import naive_retention

ROWS = (Row("a", alpha=0.4), Row("b", alpha=0.7))
OUTPUTS = [name for name in OUTPUT_DTYPES if not name.startswith("gguf")]


def merged(family, method, output, rows=ROWS, **fields):
    spec = live_spec(family)
    recipe = recipe_for(spec, *rows, method=method, output_dtype=output, **fields)
    with plan_merge(recipe, spec) as plan:
        return run_merge(plan)


def stored_values(found, path):
    """The weights as a reader of the file gets them, float64."""
    save_file(found.state_dict, path, found.metadata)
    with open_source(path) as source:
        entries = source.entries.items()
        return {key: source.read(key).double() for key, entry in entries if entry.dtype != "I64"}


@pytest.mark.parametrize("method", ["task_arithmetic", "orthogonal_projection", "orthomerge"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_it_is_that_of_the_stored_weights(family, method, output, tmp_path):
    found = merged(family, method, output, texture_boost=TextureBoost("b", 0.2))
    weights = stored_values(found, tmp_path / "x.safetensors")
    for name in ("a", "b"):
        deltas = {k: family[name][k].double() - family["base"][k].double() for k in weights}
        wanted = naive_retention(family["base"], weights, deltas)
        assert found.report.retention_written[name] == pytest.approx(wanted, abs=2e-5)
    for shares in found.report.retention_written_by_block.values():
        assert all(share is None or abs(share) < 10 for share in shares.values())


def test_a_change_below_the_steps_of_the_output_is_seen_to_be_lost(family):
    """bf16 keeps 8 bits: a change of 2⁻¹² of every weight vanishes, and the report says so."""
    base = {"w": torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).bfloat16()}
    tune = {"w": base["w"].float() * (1 + 2.0**-12)}
    found = merged({"base": base, "a": tune}, "task_arithmetic", "base", (Row("a"),))
    assert torch.equal(found.state_dict["w"], base["w"])
    assert found.report.retention["a"] == pytest.approx(1.0)
    assert found.report.retention_written["a"] == pytest.approx(0.0, abs=1e-5)
    said = "Rounding to the output's dtype moves the weights by 100 % of the merge's own change;"
    assert any(note.startswith(said) for note in found.report.notes)


def test_a_base_in_fp8_without_scales_is_written_as_bf16(family):
    base = {k: t.to(torch.float8_e4m3fn) if t.dim() == 2 else t for k, t in family["base"].items()}
    found = merged(family | {"base": base}, "task_arithmetic", "base")
    key = "blocks.0.attn.weight"
    assert base[key].dtype is torch.float8_e4m3fn
    assert found.state_dict[key].dtype is torch.bfloat16
    assert any("fp8 without scales" in note for note in found.report.notes)
    nothing = merged(family | {"base": base}, "task_arithmetic", "base", ())
    assert nothing.state_dict[key].dtype is torch.float8_e4m3fn
