"""The core's six functions, from files to a verified merge."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from orthomerge_core import api
from orthomerge_core.errors import FileError, PlanError, RecipeError
from orthomerge_core.recipe.codec import dumps


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A base and two fine-tunes, one of them a change of the other."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    base = {f"blocks.{i}.w.weight": torch.randn(16, 16, generator=generator) for i in range(3)}
    save_file(base, "base.safetensors")
    for name in ("detail", "style"):
        tuned = {k: t + 0.05 * torch.randn(16, 16, generator=generator) for k, t in base.items()}
        save_file(tuned, f"{name}.safetensors")
    return tmp_path


MODELS = ["detail.safetensors", "style.safetensors"]


def test_from_files_to_a_verified_merge(folder):
    found = api.analyze("base.safetensors", MODELS, cache=folder / "cache")
    recipe = api.optimize(found, method="task_arithmetic")
    forecast = api.forecast(found, recipe)
    report = api.merge(recipe, "merged.safetensors", cache=folder / "cache")
    for row, share in zip(forecast.rows, report.retention.values(), strict=True):
        assert row.retention == pytest.approx(share, abs=1e-5)
    checked = api.verify("merged.safetensors")
    assert checked.ok and checked.computed == report.content_hash
    base, merged = load_file("base.safetensors"), load_file("merged.safetensors")
    key = "blocks.0.w.weight"
    wanted = base[key] + sum(load_file(name)[key] - base[key] for name in MODELS)
    torch.testing.assert_close(merged[key], wanted, atol=1e-5, rtol=0)


def test_a_merge_repeats_from_its_own_header_and_from_json(folder):
    recipe = api.optimize(api.analyze("base.safetensors", MODELS))
    first = api.merge(recipe, "one.safetensors")
    (folder / "recipe.json").write_text(dumps(recipe), encoding="utf-8")
    for source in ("one.safetensors", "recipe.json"):
        again = api.merge(source, "again.safetensors", overwrite=True)
        assert again.content_hash == first.content_hash


def test_inspect_reports_the_base_and_every_model(folder):
    save_file({"other.weight": torch.zeros(2, 2)}, "odd.safetensors")
    base, detail, odd = api.inspect("base.safetensors", ["detail.safetensors", "odd.safetensors"])
    assert (base.name, detail.name, odd.name) == ("base", "detail", "odd")
    assert base.ok and detail.ok and not odd.ok


def test_what_is_wrong_is_told_as_everywhere(folder):
    recipe = api.optimize(api.analyze("base.safetensors", MODELS))
    api.merge(recipe, "there.safetensors")
    with pytest.raises(PlanError, match=r"there\.safetensors"):
        api.merge(recipe, "there.safetensors")
    with pytest.raises(FileError, match=r'"no\.json" does not exist'):
        api.merge("no.json", "x.safetensors")


def test_one_file_is_described(folder):
    found = api.describe("base.safetensors")
    assert (found.tensors, found.parameters, found.bytes) == (3, 3 * 256, 3 * 1024)
    assert found.dtypes == {"F32": 3} and not found.has_recipe
    assert str(found).startswith("base.safetensors: ")
    assert found.to_json()["file"] == "base.safetensors"


def test_a_plan_says_what_a_merge_will_write_and_runs_once(folder):
    recipe = api.optimize(api.analyze("base.safetensors", MODELS))
    with api.plan(recipe, "planned.safetensors") as planned:
        assert planned.to_json()["tensors"] == 3
        assert not (folder / "planned.safetensors").exists()
        report = api.run(planned, provenance=False)
    assert report.content_hash == api.merge(recipe, "merged.safetensors").content_hash
    with pytest.raises(RecipeError, match=r'"planned\.safetensors" holds no recipe'):
        api.merge("planned.safetensors", "again.safetensors")


def test_what_was_left_out_is_known_before_the_pass(folder):
    save_file({"other.weight": torch.zeros(2, 2)}, "odd.safetensors")
    seen = []
    found = api.analyze("base.safetensors", [*MODELS, "odd.safetensors"], on_opened=seen.append)
    assert [report.name for report in seen[0].skipped] == ["odd"]
    assert found.names == ("detail", "style")


def test_importing_it_imports_no_torch():
    code = "import sys, orthomerge_core, orthomerge_core.api; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
