"""The one merge function, against float64 and against its own promises."""

import pytest
import torch

from orthomerge_core.errors import PlanError
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.methods.registry import all_methods, get_method
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.execute.conftest import base_tensors, live_spec, recipe_for, tuned
from tests.oracles import naive_retention, naive_row_deltas, naive_sum_of_rows

LINEAR = ["task_arithmetic", "average", "orthogonal_projection"]
EXACT = [*LINEAR, "slerp", "orthomerge"]


def merge(models, *rows, **fields):
    """(state dict, report) of a merge of tensors in memory."""
    spec = live_spec(models)
    with plan_merge(recipe_for(spec, *rows, **fields), spec) as plan:
        merged = run_merge(plan)
    return merged.state_dict, merged.report


def same_bytes(a, b):
    return all(
        torch.equal(a[k].reshape(-1).view(torch.uint8), b[k].reshape(-1).view(torch.uint8))
        for k in b
    )


@pytest.mark.parametrize("method", EXACT)
def test_one_row_at_full_strength_is_the_fine_tune(family, method):
    merged, report = merge(family, Row("a"), method=method)
    for key, tensor in family["a"].items():
        assert torch.equal(merged[key], tensor), key
    assert report.retention["a"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rows", [(), (Row("a", alpha=0.0),), (Row("a", enabled=False),)])
def test_without_an_active_row_the_base_comes_back_to_the_byte(family, method, rows):
    family["base"]["final.gate"] = torch.tensor(-0.0, dtype=torch.bfloat16)
    merged, report = merge(family, *rows, method=method)
    assert same_bytes(merged, family["base"])
    assert report.keys == {"merged": 0, "from_base": 7, "repaired": 0, "extra": 0}
    assert "No row is active: the result is the base." in report.notes
    assert [message["code"] for message in report.messages] == ["merge.no_row"]


@pytest.mark.parametrize("method", EXACT)
def test_a_model_equal_to_the_base_changes_no_byte(family, method):
    family["base"]["final.gate"] = torch.tensor(-0.0, dtype=torch.bfloat16)
    family["a"] = {k: t.clone() for k, t in family["base"].items()}
    merged, report = merge(family, Row("a"), method=method)
    assert same_bytes(merged, family["base"])
    assert report.retention == {"a": None}
    assert report.keys["merged"] == 0


@pytest.mark.parametrize("mean", [False, True])
def test_rows_parents_and_repeats_agree_with_float64(family, mean):
    rows = (
        Row("child", "a", alpha=0.8, repeat=2),
        Row("a", alpha=-0.5),
        Row("b", "child", repeat=3),
    )
    method = "average" if mean else "task_arithmetic"
    merged, report = merge(family, *rows, method=method, output_dtype="fp32")
    wanted = naive_sum_of_rows(family["base"], family, rows, mean=mean)
    for key, tensor in wanted.items():
        assert torch.allclose(merged[key].double(), tensor, rtol=0, atol=1e-6), key
    for row, label in zip(rows, ("child", "a", "b"), strict=True):
        deltas = naive_row_deltas(family["base"], family, row)
        naive = naive_retention(family["base"], wanted, deltas)
        assert report.retention[label] == pytest.approx(naive, abs=1e-5)


@pytest.mark.parametrize("method", LINEAR)
def test_row_order_and_an_idle_row_do_not_matter_in_a_sum(family, method):
    rows = [Row("a"), Row("b", alpha=0.5), Row("child", "a")]
    options = {"variant": "symmetric"} if method == "orthogonal_projection" else {}
    first, _ = merge(family, *rows, method=method, options=options, output_dtype="fp32")
    idle = Row("a", alpha=0.0)
    turned, _ = merge(
        family, *rows[::-1], idle, method=method, options=options, output_dtype="fp32"
    )
    for key, tensor in first.items():
        assert torch.allclose(tensor.double(), turned[key].double(), rtol=0, atol=1e-6), key


def test_layers_weigh_each_tensor(family):
    row = Row("a", layers="blocks.0=0.5, *norm*=2, default=0")
    merged, report = merge(family, row, output_dtype="fp32")
    base, delta = family["base"], naive_row_deltas(family["base"], family, row)
    weights = {"blocks.0.attn.weight": 0.5, "blocks.0.attn.bias": 0.5, "blocks.1.norm.scale": 2.0}
    wanted = {k: base[k].double() + weights.get(k, 0.0) * d for k, d in delta.items()}
    for key, tensor in wanted.items():
        assert torch.allclose(merged[key].double(), tensor, atol=1e-6), key
    assert report.keys["merged"] == 3
    assert report.retention["a"] == pytest.approx(naive_retention(base, wanted, delta), abs=1e-6)
    assert report.retention_by_block["a"]["blocks.0"] == pytest.approx(0.5, abs=1e-6)
    assert report.retention_by_block["a"]["final"] == 0.0


def test_a_pattern_that_matches_nothing_stops_the_merge(family):
    with pytest.raises(PlanError) as caught:
        merge(family, Row("a", layers="blcks.0=0.5"))
    assert str(caught.value) == (
        'row of "a", layers: "blcks.0" matches no tensor. Did you mean "blocks.0"? The blocks are '
        "blocks.0, blocks.1, final."
    )


@pytest.mark.parametrize(
    "method", ["task_arithmetic", "orthogonal_projection", "orthomerge", "slerp"]
)
def test_texture_boost_is_added_after_the_method(family, method):
    boost = TextureBoost("child", 0.3)
    rows = (Row("a"), Row("child", "a", enabled=False))
    plain, _ = merge(family, *rows, method=method, output_dtype="fp32")
    boosted, _ = merge(family, *rows, method=method, output_dtype="fp32", texture_boost=boost)
    for key, delta in naive_row_deltas(family["base"], family, rows[1]).items():
        wanted = plain[key].double() + 0.3 * delta
        assert torch.allclose(boosted[key].double(), wanted, rtol=0, atol=1e-5), key


def test_texture_boost_alone(family):
    merged, report = merge(family, texture_boost=TextureBoost("a", 0.5), output_dtype="fp32")
    for key, delta in naive_row_deltas(family["base"], family, Row("a")).items():
        assert torch.allclose(merged[key].double(), family["base"][key].double() + 0.5 * delta)
    assert report.retention == {}


class TestUnequalModels:
    def test_a_missing_key_is_no_change_and_an_extra_one_is_counted(self, family):
        del family["a"]["blocks.0.attn.bias"]
        family["a"]["lora.extra"] = torch.ones(3)
        merged, report = merge(family, Row("a"))
        assert same_bytes(
            {"k": merged["blocks.0.attn.bias"]}, {"k": family["base"]["blocks.0.attn.bias"]}
        )
        assert "lora.extra" not in merged
        assert report.keys["extra"] == 1
        assert any("a lacks 1 tensor" in note for note in report.notes)

    def test_a_row_without_a_delta_does_not_dilute_the_average(self, family):
        key = "blocks.0.attn.weight"
        family["a"][key] = family["base"][key].clone()
        merged, _ = merge(family, Row("a"), Row("b", repeat=2), method="average")
        assert torch.equal(merged[key], family["b"][key])
        other = "blocks.1.mlp.weight"
        assert not torch.equal(merged[other], family["b"][other])

    @pytest.mark.parametrize("method", EXACT)
    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    @pytest.mark.parametrize("where", ["a", "base"])
    def test_a_tensor_that_is_not_finite_is_replaced_by_the_bases_and_named(
        self, family, method, bad, where
    ):
        key = "blocks.0.attn.weight"
        family[where][key][3, 5] = bad
        merged, report = merge(family, Row("a"), method=method)
        assert same_bytes({"k": merged[key]}, {"k": family["base"][key]})
        if where == "base":
            assert report.repaired_keys == (key,)
            assert report.keys["repaired"] == 1
        else:
            assert report.unused == {"a": {"not_finite": [key]}}
            assert report.keys["repaired"] == 0
        assert any(key in note for note in report.notes)
        kept, whole = {}, {}
        for name in (k for k, t in merged.items() if t.is_floating_point()):
            base = family["base"][name].double()
            delta = torch.nan_to_num(family["a"][name].double() - base, posinf=0, neginf=0)
            change = torch.nan_to_num(merged[name].double() - base)
            block = name.rsplit(".", 2)[0]
            kept[block] = kept.get(block, 0.0) + float((change * delta).sum())
            whole[block] = whole.get(block, 0.0) + float((delta * delta).sum())
        shares = {block: kept[block] / whole[block] for block in whole}
        assert shares["blocks.0"] < 0.5  # the lost tensor counts
        found = report.retention_by_block["a"]
        assert found["blocks.0"] == pytest.approx(shares["blocks.0"], abs=0.02)
        everything = sum(kept.values()) / sum(whole.values())
        assert report.retention["a"] == pytest.approx(everything, abs=0.02)

    @pytest.mark.parametrize("method", sorted(all_methods()))
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_a_row_that_is_not_finite_counts_as_missing_and_harms_no_other(
        self, family, method, bad
    ):
        key = "blocks.0.attn.weight"
        if get_method(method).max_rows == 1:
            pytest.skip("takes one row")
        alone = {name: tensors for name, tensors in family.items() if name != "b"}
        wanted, _ = merge(alone, Row("a", alpha=0.5), method=method)
        family["b"][key][3, 5] = bad
        rows = (Row("a", alpha=0.5), Row("b", alpha=0.7))
        merged, report = merge(family, *rows, method=method)
        assert torch.equal(merged[key], wanted[key])
        assert report.unused == {"b": {"not_finite": [key]}}
        assert report.repaired_keys == ()
        assert (
            f"b holds values that are not finite in 1 tensor ({key}); it does not count there."
        ) in report.notes

    def test_a_texture_that_is_not_finite_is_left_out_there(self, family):
        key = "blocks.0.attn.weight"
        wanted, _ = merge(family, Row("a"))
        family["b"][key][3, 5] = float("nan")
        for method in ("task_arithmetic", "slerp"):
            boost = TextureBoost("b", 0.5)
            merged, report = merge(family, Row("a"), method=method, texture_boost=boost)
            assert torch.equal(merged[key], family["a"][key])
            assert report.unused == {"texture_boost": {"not_finite": [key]}}
            assert not torch.equal(merged["blocks.1.mlp.weight"], wanted["blocks.1.mlp.weight"])

    @pytest.mark.parametrize("method", ["task_arithmetic", "orthomerge"])
    def test_a_bad_tensor_in_a_row_that_does_not_act_there_harms_nothing(self, family, method):
        key = "blocks.0.attn.weight"
        family["b"][key][0, 0] = float("nan")
        rows = (Row("a"), Row("b", layers="blocks.0=0"))
        merged, report = merge(family, *rows, method=method)
        assert torch.equal(merged[key], family["a"][key])
        assert report.repaired_keys == ()

    def test_values_whose_squares_overflow_float32_are_not_repaired(self, family):
        family["a"]["blocks.0.attn.bias"][0] = 1e25
        merged, report = merge(family, Row("a"))
        assert torch.equal(merged["blocks.0.attn.bias"], family["a"]["blocks.0.attn.bias"])
        assert report.repaired_keys == ()

    @pytest.mark.parametrize("method", LINEAR)
    @pytest.mark.parametrize("output", ["base", "fp32"])
    def test_a_sum_that_leaves_float32_is_repaired(self, family, method, output):
        key = "blocks.0.attn.weight"
        family["base"][key][1, 1], family["a"][key][1, 1] = 3e38, 3.2e38
        rows = (Row("a", alpha=5.0),)
        merged, report = merge(family, *rows, method=method, output_dtype=output)
        assert torch.equal(merged[key].float(), family["base"][key].float())
        assert report.repaired_keys == (key,)

    def test_an_all_nan_model(self, family):
        family["a"] = {
            k: torch.full_like(t, float("nan")) if t.is_floating_point() else t
            for k, t in family["a"].items()
        }
        merged, report = merge(family, Row("a"))
        assert same_bytes(merged, family["base"])
        assert report.keys["repaired"] == 0
        assert len(report.unused["a"]["not_finite"]) == 6

    def test_empty_tensors_pass_through(self, family):
        for tensors in family.values():
            tensors["blocks.1.empty"] = torch.empty(0, 4, dtype=torch.bfloat16)
        merged, _ = merge(family, Row("a"), Row("b"), method="orthogonal_projection")
        assert merged["blocks.1.empty"].shape == (0, 4)


@pytest.mark.parametrize("method", ["task_arithmetic", "orthogonal_projection", "orthomerge"])
def test_preview_equals_saved(family, tmp_path, method):
    rows = (Row("a"), Row("b", alpha=0.7))
    tensors, preview = merge(family, *rows, method=method)
    spec, path = live_spec(family), tmp_path / "merged.safetensors"
    with plan_merge(recipe_for(spec, *rows, method=method), spec, target=path) as plan:
        saved = run_merge(plan).report
    verdict = verify_file(path)
    assert preview.content_hash == saved.content_hash == verdict.computed
    assert verdict.ok
    from safetensors.torch import load_file

    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    assert same_bytes(tensors, loaded)


def test_the_same_recipe_gives_the_same_file(on_disk, tmp_path):
    spec = on_disk()
    files = []
    for folder in ("one", "two"):
        path = tmp_path / folder / "merged.safetensors"
        path.parent.mkdir()
        recipe = recipe_for(spec, Row("a"), Row("child", "a"), method="orthomerge")
        with plan_merge(recipe, spec, target=path) as plan:
            run_merge(plan)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_tensors_of_a_state_dict_are_independent_and_contiguous(family):
    merged, _ = merge(family, Row("a"))
    assert all(t.is_contiguous() for t in merged.values())
    assert len({t.untyped_storage().data_ptr() for t in merged.values()}) == len(merged)


@pytest.mark.parametrize(
    ("output", "dtype"),
    [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)],
)
def test_output_dtypes(family, output, dtype):
    merged, _ = merge(family, Row("a"), output_dtype=output)
    for key, tensor in family["a"].items():
        wanted = dtype if tensor.is_floating_point() else tensor.dtype
        assert merged[key].dtype is wanted
        if tensor.is_floating_point():
            assert torch.allclose(merged[key].float(), tensor.float(), atol=1e-3)


def test_fp16_does_not_overflow(family):
    family["base"]["blocks.0.attn.bias"][0] = 1e6
    merged, _ = merge(family, output_dtype="fp16")
    assert merged["blocks.0.attn.bias"][0] == 65504.0


def test_a_quantised_layer_of_the_base_becomes_bf16(family):
    from orthomerge_core.keys.setspec import ModelSpec, SetSpec
    from tests.fakes import MemorySource

    key = "blocks.0.attn.weight"
    base = {k: t.float() if k == key else t for k, t in family["base"].items()}
    sources = MemorySource("base", base, quant={key: "fp8_scaled"}), MemorySource("a", family["a"])
    spec = SetSpec(
        ModelSpec("base", "base.safetensors", source=sources[0]),
        (ModelSpec("a", "a.safetensors", source=sources[1]),),
    )
    with plan_merge(recipe_for(spec, Row("a")), spec) as plan:
        merged = run_merge(plan)
    assert merged.state_dict[key].dtype is torch.bfloat16
    assert torch.equal(merged.state_dict[key], family["a"][key])
    assert "Quantized layers of the base (1) are written as bf16." in merged.report.notes


def test_leave_one_out_is_one_for_a_lone_row_and_nothing_for_a_twin(family):
    _, alone = merge(family, Row("a"))
    assert alone.leave_one_out["a"] == pytest.approx(1.0, abs=1e-6)
    family["twin"] = {k: t.clone() for k, t in family["a"].items()}
    _, twins = merge(family, Row("a"), Row("twin"))
    assert twins.leave_one_out == pytest.approx({"a": 0.0, "twin": 0.0}, abs=1e-6)


def test_rounding_is_measured_against_the_change():
    base = base_tensors(torch.float32)
    models = {"base": base, "a": tuned(base, 1)}
    merged, report = merge(models, Row("a", alpha=0.37), output_dtype="bf16")
    exact = naive_sum_of_rows(base, models, (Row("a", alpha=0.37),))
    error = sum(((merged[k].double() - w) ** 2).sum() for k, w in exact.items())
    change = sum(((w - base[k].double()) ** 2).sum() for k, w in exact.items())
    assert report.rounding_frac == pytest.approx(float((error / change) ** 0.5), rel=1e-3)


def test_labels_of_two_rows_of_one_model(family):
    _, report = merge(family, Row("child"), Row("child", "a"))
    assert list(report.retention) == ["child", "child #2"]


def test_the_report_is_plain_json(family):
    import json

    _, report = merge(family, Row("a"))
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["content_hash"]
