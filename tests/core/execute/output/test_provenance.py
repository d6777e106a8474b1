"""The header says how to repeat the merge, and nothing about anybody's disk."""

import json
from dataclasses import replace

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from orthomerge_core import __version__
from orthomerge_core.errors import RecipeError
from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.output.provenance import recipe_from_metadata
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io import bytesource
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.keys.setspec import ModelSpec
from orthomerge_core.recipe.model import ModelRef, Row
from tests.core.execute.conftest import recipe_for
from tests.fakes import MemorySource


def merge(spec, target, *rows, memo=None, recipe=None, **options):
    recipe = recipe or recipe_for(spec, *rows)
    with plan_merge(recipe, spec, target=target, overwrite=True) as plan:
        return run_merge(plan, Caches(memo=memo), **options).report


def header(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_the_header_holds_recipe_hashes_and_version(on_disk, tmp_path):
    target = tmp_path / "merged.safetensors"
    report = merge(on_disk(), target, Row("child", "a", info="why"), Row("b", enabled=False))
    found = header(target)
    recipe = recipe_from_metadata(found, "merged")
    assert found["orthomerge.content_hash"] == report.content_hash
    assert found["orthomerge.version"] == __version__
    assert found["modelspec.title"] == "merged"
    assert found["modelspec.merged_from"] == "base.safetensors, child.safetensors, a.safetensors"
    assert recipe.base_hash == report.source_hashes["base"]
    assert recipe.models["child"].content_hash == report.source_hashes["child"]
    assert recipe.models["b"].content_hash is None  # it was not read
    assert recipe.rows[0].info == "why"
    assert str(tmp_path) not in json.dumps(found)


class Live(MemorySource):
    is_live = True


def test_a_model_of_the_graph_is_said_not_to_be_repeatable(on_disk, tmp_path, family):
    spec, target = on_disk(), tmp_path / "merged.safetensors"
    live = ModelSpec("lora", "MODEL lora", source=Live("lora", family["b"]))
    spec = spec.with_model(live)
    recipe = recipe_for(spec, Row("lora"), Row("a"))
    models = {**recipe.models, "lora": ModelRef("MODEL lora", live=True)}
    report = merge(spec, target, recipe=replace(recipe, models=models))
    assert (
        "lora is a connected MODEL, which no recipe can hold: the recipe and its files alone "
        "do not repeat this merge."
    ) in [str(note) for note in report.notes]
    found = header(target)
    assert recipe_from_metadata(found, "merged").models["lora"].live
    assert not recipe_from_metadata(found, "merged").models["a"].live
    assert found["modelspec.description"].endswith(
        "task_arithmetic. Not repeatable from files alone: lora came from ComfyUI's graph."
    )
    assert "mecha_recipe" not in found


def test_the_recipe_can_be_left_out_and_strings_added(on_disk, tmp_path):
    target = tmp_path / "merged.safetensors"
    merge(on_disk(), target, Row("a"), provenance=False, extra_metadata={"workflow": "{}"})
    found = header(target)
    assert set(found) == {"format", "orthomerge.content_hash", "orthomerge.version", "workflow"}
    assert verify_file(target).ok
    assert verify_file(target).recipe is None


def test_of_the_bases_metadata_only_what_stays_true_is_kept(on_disk, tmp_path, family):
    spec = on_disk()
    lies = {"prompt": "{}", "modelspec.hash_sha256": "0", "ss_network_dim": "4"}
    keep = {"config": '{"transformer": {}}', "modelspec.architecture": "stable-diffusion-v3"}
    save_file(family["base"], tmp_path / "base.safetensors", lies | keep)
    target = tmp_path / "merged.safetensors"
    merge(spec, target, Row("a"))
    found = header(target)
    assert keep.items() <= found.items()
    assert not lies.keys() & found.keys()


def test_source_hashes_know_renamed_files_and_see_changed_ones(on_disk, tmp_path, family):
    spec, memo = on_disk(), HashMemo(tmp_path / "memo")
    recipe = recipe_for(spec, Row("a"))
    first = merge(spec, tmp_path / "one.safetensors", recipe=recipe, memo=memo)
    again = recipe_from_metadata(header(tmp_path / "one.safetensors"), "one")
    same = merge(spec, tmp_path / "two.safetensors", recipe=again, memo=memo)
    assert same.source_hashes == first.source_hashes
    assert same.notes == ()
    save_file({k: t + 1 for k, t in family["a"].items()}, tmp_path / "a.safetensors")
    other = merge(spec, tmp_path / "three.safetensors", recipe=again, memo=memo)
    assert (
        'a ("a.safetensors") is not the file that the recipe was made from: it holds other weights '
        "now." in other.notes
    )


def test_verify_finds_a_changed_tensor(on_disk, tmp_path):
    target = tmp_path / "merged.safetensors"
    merge(on_disk(), target, Row("a"))
    good = verify_file(target)
    assert good.ok and "holds exactly what was merged" in good.verdict
    data = bytearray(target.read_bytes())
    data[-3] ^= 4
    target.write_bytes(data)
    bad = verify_file(target)
    assert not bad.ok
    assert bad.verdict.startswith('"merged.safetensors" was changed after it was merged: expected')
    json.dumps(bad.to_json())


def test_verify_of_a_file_from_elsewhere(on_disk, tmp_path):
    on_disk()
    found = verify_file(tmp_path / "base.safetensors")
    assert not found.ok
    assert found.verdict == '"base.safetensors" holds no content hash: it was not merged here.'
    with pytest.raises(RecipeError, match=r'"x" holds no recipe'):
        recipe_from_metadata({}, "x")


def test_a_merge_with_a_longer_way_of_reading_is_the_same(on_disk, tmp_path):
    """Sharing a file with other programs: the safetensors package reads what was written."""
    target = tmp_path / "merged.safetensors"
    merge(on_disk(), target, Row("a"))
    assert load_file(target).keys() == load_file(tmp_path / "base.safetensors").keys()


def test_known_files_are_not_hashed_again(on_disk, tmp_path, monkeypatch):
    memo = HashMemo(None)
    spec = on_disk()
    first = merge(spec, tmp_path / "first.safetensors", Row("a"), Row("b"), memo=memo)

    def refuse():
        raise AssertionError("a source was hashed")

    monkeypatch.setattr(bytesource, "Hasher", refuse)
    again = merge(spec, tmp_path / "again.safetensors", Row("a"), Row("b"), memo=memo)
    assert again.source_hashes == first.source_hashes
    assert again.content_hash == first.content_hash
    with pytest.raises(AssertionError, match="a source was hashed"):
        merge(spec, tmp_path / "third.safetensors", Row("a"))
