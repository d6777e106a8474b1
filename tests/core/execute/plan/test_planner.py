"""Everything that can be wrong is said before the first byte, and all at once."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from orthomerge_core.errors import CompatibilityError, OrthoMergeError, PlanError
from orthomerge_core.execute.plan import cost as estimate_module
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.recipe.model import ModelRef, Row
from tests.core.execute.conftest import live_spec, recipe_for


def plan_error(family, *rows, target=None, overwrite=False, output_dtype=None, **fields):
    spec = live_spec(family)
    recipe = recipe_for(spec, *rows, **fields)
    with pytest.raises(OrthoMergeError) as caught:
        plan_merge(recipe, spec, target=target, overwrite=overwrite, output_dtype=output_dtype)
    return caught.value


@pytest.mark.parametrize(
    ("rows", "fields", "says"),
    [
        ((Row("x"),), {}, 'row 1: no model "x" in the set'),
        ((Row("a", "child"), Row("child", "a")), {}, "in a circle, a → child → a"),
        ((Row("a", layers="b"),), {}, 'row 1, layers: "b" is not a pair'),
        ((Row("a"),), {"method": "avrage"}, 'unknown method "avrage". Did you mean "average"?'),
        ((Row("a"),), {"options": {"dampng": 1}}, 'unknown option "dampng"'),
        (
            (Row("a"),),
            {"method": "orthogonal_projection", "options": {"variant": "no"}},
            "sequential, symmetric",
        ),
        ((Row("a"), Row("b")), {"method": "slerp"}, "too many active rows: expected at most 1"),
        ((Row("a"),), {"output_dtype": "int4"}, 'unknown output_dtype "int4"'),
    ],
)
def test_problems_of_the_recipe(family, rows, fields, says):
    error = plan_error(family, *rows, **fields)
    assert isinstance(error, PlanError)
    assert says in str(error)


def test_all_problems_come_in_one_error(family, tmp_path):
    error = plan_error(
        family,
        Row("x"),
        Row("y"),
        method="nope",
        target=tmp_path / "merged.ckpt",
        output_dtype="int4",
    )
    assert len(error.problems) == 5
    assert "(and 4 more problems)" in str(error).splitlines()[0]


def test_a_model_that_was_not_opened_is_named(family):
    spec = live_spec(family)
    recipe = replace(recipe_for(spec, Row("z")), models={"z": ModelRef("z.safetensors")})
    with pytest.raises(PlanError, match='model "z" is not in the opened set'):
        plan_merge(recipe, spec)


def test_a_used_model_that_does_not_fit_is_a_problem_an_unused_one_is_not(family):
    family["odd"] = {"something.else": torch.ones(3)}
    spec = live_spec(family)
    plan_merge(recipe_for(spec, Row("a")), spec).close()
    with pytest.raises(PlanError) as caught:
        plan_merge(recipe_for(spec, Row("a"), Row("odd")), spec)
    assert isinstance(caught.value.problems[0], CompatibilityError)
    assert 'model "odd" does not fit the base' in str(caught.value)


class TestTarget:
    def test_existing_target(self, family, tmp_path):
        target = tmp_path / "merged.safetensors"
        target.write_bytes(b"precious")
        assert '"merged.safetensors" exists already' in str(
            plan_error(family, Row("a"), target=target)
        )
        spec = live_spec(family)
        plan_merge(recipe_for(spec, Row("a")), spec, target=target, overwrite=True).close()
        assert target.read_bytes() == b"precious"

    def test_target_is_a_source(self, on_disk, tmp_path):
        spec = on_disk()
        with pytest.raises(PlanError, match="is one of the models that are merged"):
            plan_merge(
                recipe_for(spec, Row("a")),
                spec,
                target=tmp_path / "a.safetensors",
                overwrite=True,
            )

    def test_folder_that_is_not_there(self, family, tmp_path):
        error = plan_error(family, Row("a"), target=tmp_path / "no" / "merged.safetensors")
        assert 'the folder for "merged.safetensors" does not exist' in str(error)
        assert str(tmp_path) not in str(error)

    def test_folder_as_target(self, family, tmp_path):
        (tmp_path / "m.safetensors").mkdir()
        error = plan_error(family, Row("a"), target=tmp_path / "m.safetensors")
        assert '"m.safetensors" is a folder' in str(error)


def test_only_used_models_are_opened(on_disk, tmp_path):
    spec = on_disk()
    (tmp_path / "b.safetensors").write_bytes(b"broken")
    with plan_merge(recipe_for(spec, Row("child", "a"), Row("b", enabled=False)), spec) as plan:
        assert [m.name for m in plan.models] == ["child", "a"]


def test_a_broken_file_is_named(on_disk, tmp_path):
    spec = on_disk()
    path = tmp_path / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(OrthoMergeError, match=r'"a.safetensors" is truncated'):
        plan_merge(recipe_for(spec, Row("a")), spec)


def test_the_dry_run_knows_sizes(on_disk, tmp_path, family):
    spec = on_disk()
    with plan_merge(recipe_for(spec, Row("a"), Row("b")), spec) as plan:
        costs = plan.estimate
    size = sum(t.numel() * t.element_size() for t in family["base"].values())
    assert costs.output_bytes == size
    assert costs.read_bytes == 3 * (size - 8) + 8
    assert costs.ram_bytes > 0
    assert costs.seconds > 0
    with plan_merge(recipe_for(spec, Row("a")), spec, output_dtype="fp32") as plan:
        assert plan.estimate.output_bytes == 2 * (size - 8) + 8
        assert plan.to_json()["output_dtype"] == "fp32"


def test_what_was_estimated_is_what_is_written(on_disk, tmp_path):
    spec, target = on_disk(), tmp_path / "merged.safetensors"
    for dtype in ("base", "fp32", "fp8_e4m3fn"):
        recipe = recipe_for(spec, Row("a"), Row("b"))
        with plan_merge(recipe, spec, target=target, output_dtype=dtype) as plan:
            run_merge(plan)
            costs = plan.estimate
        with safe_open(target, "pt") as file:
            stored = sum(file.get_tensor(k).nbytes for k in file.keys())  # noqa: SIM118
        assert stored == costs.output_bytes
        assert costs.free_disk_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
        target.unlink()


def test_memory_is_only_said_to_be_short_where_it_is(family, monkeypatch):
    spec = live_spec(family)
    for free, words in ((1 << 40, ()), (1000, ("MiB of memory are needed and 0 MiB are free",))):
        monkeypatch.setattr(estimate_module, "_available_bytes", lambda free=free: free)
        with plan_merge(recipe_for(spec, Row("a")), spec) as plan:
            assert len(plan.notes) == len(words)
            assert all(word in note for word, note in zip(words, plan.notes, strict=True))
    monkeypatch.undo()
    assert estimate_module._available_bytes() > 64 << 20


def test_a_method_that_looks_twice_takes_longer(on_disk):
    spec = on_disk()
    costs = {}
    for method in ("average", "orthogonal_projection"):
        with plan_merge(recipe_for(spec, Row("a"), Row("b"), method=method), spec) as plan:
            costs[method] = plan.estimate.seconds
    assert costs["average"] < costs["orthogonal_projection"] < 2 * costs["average"]
