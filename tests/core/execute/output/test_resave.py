"""A finished merge stored once more: the same bytes, proven, without merging."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from orthomerge_core.errors import Cancelled
from orthomerge_core.execute.output.provenance import with_hashes
from orthomerge_core.execute.output.resave import merge_identity, store_again
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import StopAfter, recipe_for

ROWS = (Row("a"), Row("b", alpha=0.5))


def merged(spec, dtype="base"):
    """A merge in memory: its report, its tensors, its recipe."""
    recipe = recipe_for(spec, *ROWS)
    with plan_merge(recipe, spec, output_dtype=dtype) as plan:
        found = run_merge(plan)
    return found.report, found.state_dict, recipe


def stored(spec, recipe, report, read, target, dtype="base", **options):
    with plan_merge(recipe, spec, output_dtype=dtype, target=target) as plan:
        found = store_again(plan, report, read, **options)
    return found and found.report


@pytest.mark.parametrize("dtype", ["base", "fp16", "fp8_e4m3fn"])
def test_the_file_is_the_one_that_a_merge_would_write(on_disk, tmp_path: Path, dtype):
    spec = on_disk()
    report, tensors, recipe = merged(spec, dtype)
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    with plan_merge(recipe, spec, output_dtype=dtype, target=first) as plan:
        run_merge(plan)
    found = stored(spec, recipe, report, tensors.get, again, dtype)
    assert found.content_hash == report.content_hash == verify_file(again).computed
    assert found.file == "again.safetensors"
    assert "made before" in found.notes[-1]
    written, expected = load_file(again), load_file(first)
    assert all(torch.equal(written[k], expected[k]) for k in expected)
    with safe_open(first, "pt") as one, safe_open(again, "pt") as two:
        headers = [dict(file.metadata()) for file in (one, two)]
    for header in headers:
        del header["modelspec.title"]
    assert headers[0] == headers[1]


def test_wider_tensors_serve_and_rounded_ones_do_not(on_disk, tmp_path: Path):
    spec = on_disk()
    report, tensors, recipe = merged(spec)
    target = tmp_path / "out.safetensors"

    def wide(key):
        return tensors[key].float() if tensors[key].is_floating_point() else tensors[key]

    def rounded(key):
        return wide(key).to(torch.float8_e4m3fn)

    assert stored(spec, recipe, report, rounded, target) is None
    assert not list(tmp_path.glob("*out*"))
    found = stored(spec, recipe, report, wide, target)
    assert found.content_hash == verify_file(target).computed


def test_a_tensor_that_is_gone_leaves_nothing(on_disk, tmp_path: Path):
    spec = on_disk()
    report, _, recipe = merged(spec)
    assert stored(spec, recipe, report, lambda key: None, tmp_path / "out.safetensors") is None
    assert not list(tmp_path.glob("*out*"))


def test_cancel_leaves_nothing(on_disk, tmp_path: Path):
    spec = on_disk()
    report, tensors, recipe = merged(spec)
    with pytest.raises(Cancelled):
        stored(
            spec, recipe, report, tensors.get, tmp_path / "out.safetensors", progress=StopAfter(2)
        )
    assert not list(tmp_path.glob("*out*"))


def test_identity_knows_recipe_files_and_dtype_but_not_hashes_or_words(on_disk, tmp_path: Path):
    spec = on_disk()
    report, _, recipe = merged(spec)

    def identity(recipe, dtype="base"):
        with plan_merge(recipe, spec, output_dtype=dtype) as plan:
            return merge_identity(plan)

    same = recipe_for(spec, Row("a", info="why"), *ROWS[1:], Row("child", enabled=False))
    assert identity(recipe) == identity(with_hashes(same, report.source_hashes))
    assert identity(recipe) != identity(recipe, "fp16")
    assert identity(recipe) != identity(recipe_for(spec, Row("a")))
    before = identity(recipe)
    on_disk()
    assert identity(recipe) != before
