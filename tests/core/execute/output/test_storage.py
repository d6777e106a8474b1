"""Stored forms: which tensors become fp8, with which scale, and how they read back."""

import json

import pytest
import torch

from orthomerge_core.execute.output.cast import cast
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.storage import Stored, stored_as
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.quant.fp8_scaled import FP8_MAX, fp8_scale
from orthomerge_core.io.source import Entry
from orthomerge_core.keys.detect import get_architecture
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for

GENERIC, SD3 = get_architecture("generic"), get_architecture("sd3")
BF16, SCALED = Stored("BF16"), Stored("F8_E4M3", "fp8_e4m3fn")


@pytest.mark.parametrize(
    ("key", "shape", "output", "entry", "wanted"),
    [
        ("w", (4,), "base", Entry((4,), "F16", 8), Stored("F16")),
        ("w", (4,), "base", Entry((4,), "F8_E4M3", 4), BF16),
        ("w", (4,), "base", Entry((4,), "F8_E5M2", 4), BF16),
        ("w", (4,), "base", Entry((4,), "F8_E4M3", 4, quant="fp8_scaled"), BF16),
        ("w", (4,), "fp32", Entry((4,), "F8_E4M3", 4, quant="fp8_scaled"), Stored("F32")),
        ("b.attn.weight", (32, 48), "fp8_e4m3fn", Entry((32, 48), "BF16", 0), SCALED),
        ("b.attn.bias", (32,), "fp8_e4m3fn", Entry((32,), "BF16", 0), BF16),
        ("b.attn.scale", (32, 48), "fp8_e4m3fn", Entry((32, 48), "BF16", 0), BF16),
        ("b.attn.weight", (32, 40), "fp8_e4m3fn", Entry((32, 40), "BF16", 0), BF16),
        ("b.conv.weight", (16, 16, 3, 3), "fp8_e4m3fn", Entry((1,), "BF16", 0), BF16),
        ("token_embed.weight", (32, 32), "fp8_e4m3fn", Entry((1,), "BF16", 0), BF16),
        ("b.norm1.weight", (32, 32), "fp8_e4m3fn", Entry((1,), "BF16", 0), BF16),
    ],
)
def test_the_stored_form_of_a_tensor(key, shape, output, entry, wanted):
    assert stored_as(key, shape, entry, output, GENERIC) == wanted


def test_a_merge_that_changes_nothing_keeps_fp8_without_scales():
    entry = Entry((4,), "F8_E4M3", 4)
    assert stored_as("w", (4,), entry, "base", GENERIC, changes=False) == Stored("F8_E4M3")


@pytest.mark.parametrize(
    ("dtype", "limit"), [("F16", 65504.0), ("F8_E4M3", 448.0), ("F8_E5M2", 57344.0)]
)
def test_a_cast_never_makes_infinity(dtype, limit):
    stored = cast(torch.tensor([1e9, -1e9, 1.0]), dtype)
    assert stored.float().tolist() == [limit, -limit, 1.0]


def test_scales():
    assert fp8_scale(torch.tensor([0.0, -2 * FP8_MAX])) == 2.0
    assert fp8_scale(torch.zeros(3)) == 1.0
    assert fp8_scale(torch.zeros(0)) == 1.0
    for bad in (torch.inf, -torch.inf, torch.nan):
        assert fp8_scale(torch.tensor([bad, FP8_MAX])) == 1.0
        assert fp8_scale(torch.tensor([bad])) == 1.0


def test_one_bad_weight_of_the_base_does_not_cost_its_whole_layer_in_fp8(family):
    key = "blocks.0.attn.weight"
    family["base"][key][0, 0] = torch.inf
    spec = live_spec(family)
    recipe = recipe_for(spec, Row("a"), output_dtype="fp8_e4m3fn")
    with plan_merge(recipe, spec) as plan:
        merged = run_merge(plan)
    assert merged.report.repaired_keys == (key,)
    found = merged.state_dict[key].float() * merged.state_dict[f"{key}_scale"]
    assert torch.allclose(found[1:], family["base"][key][1:].float(), rtol=0.07, atol=1e-3)


def test_scaled_fp8_reads_back_within_its_rounding(family, tmp_path):
    spec, path = live_spec(family), tmp_path / "merged.safetensors"
    recipe = recipe_for(spec, Row("a"), output_dtype="fp8_e4m3fn")
    with plan_merge(recipe, spec, target=path) as plan:
        report = run_merge(plan).report
    with plan_merge(recipe, live_spec(family)) as plan:
        preview = run_merge(plan)
    assert preview.report.content_hash == report.content_hash == verify_file(path).computed
    scaled = {"blocks.0.attn.weight", "blocks.1.mlp.weight"}
    layers = json.loads(preview.metadata["_quantization_metadata"])["layers"]
    assert layers == {k.removesuffix(".weight"): {"format": "float8_e4m3fn"} for k in scaled}
    with open_source(path) as source:
        assert source.entries.keys() == family["base"].keys()
        for key, tensor in family["a"].items():
            if key == "step":
                continue
            read = source.read(key)
            bound = 2**-4 * tensor.float().abs() + 2**-10 * float(tensor.float().abs().max()) / 448
            error = (read - tensor.float()).abs()
            assert (error <= (bound if key in scaled else 0)).all(), key
            assert (source.entries[key].quant is not None) == (key in scaled)
    assert 0.1 < report.rounding_frac < 2.0


def test_without_an_active_row_fp8_is_the_base_rounded(family):
    spec = live_spec(family)
    with plan_merge(recipe_for(spec, output_dtype="fp8_e4m3fn"), spec) as plan:
        merged = run_merge(plan).state_dict
    key = "blocks.0.attn.weight"
    scale = merged[key + "_scale"]
    assert scale.dtype is torch.float32 and scale.shape == ()
    assert float(merged[key].float().abs().max()) == FP8_MAX
    values = merged[key].float() * scale
    assert torch.allclose(values, family["base"][key].float(), rtol=2**-4, atol=1e-4)
