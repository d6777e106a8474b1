"""What people get wrong in the shell, met one by one: files kept, words that help."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from orthomerge_core.cli.bar import Bar
from tests.core.test_cli import BASE, RECIPE, models, shell, write_recipe

__all__ = ["models", "shell"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", RECIPE, "-o", "models/a.safetensors"),
        ("export", RECIPE, "-o", "new.gguf"),
        ("export", RECIPE, "-o", "new-00002-of-00003.safetensors"),
        ("analyze", BASE, "models", "--json", BASE),
        ("optimize", "analysis.json", "-o", "models/a.safetensors"),
    ],
)
def test_no_text_is_written_over_a_model(shell, models, arguments):
    write_recipe(models)
    assert shell("analyze", BASE, "models", "--json", "analysis.json")[0] == 0
    before = {p: p.read_bytes() for p in Path().rglob("*.*") if p.is_file()}
    code, out, err = shell(*arguments)
    assert code == 1 and out == ""
    assert "has the name of a model, and this is a text" in err
    assert {p: p.read_bytes() for p in Path().rglob("*.*") if p.is_file()} == before


def test_a_folder_is_no_target_for_a_text_and_that_is_said_before_the_pass(shell, models):
    code, _, err = shell("analyze", BASE, "models", "--json", "models")
    assert code == 1 and 'Error: "models" is a folder. Name a file in it.' in err


def test_an_analysis_is_not_taken_for_a_recipe(shell, models):
    assert shell("analyze", BASE, "models", "--json", "a.json")[0] == 0
    for arguments in (("merge", "a.json", "-o", "x.safetensors"), ("export", "a.json")):
        code, _, err = shell(*arguments)
        assert code == 1
        assert '"a.json": this is an analysis, not a recipe. Let the optimizer make' in err
    assert not Path("x.safetensors").exists()


def test_fields_that_nothing_reads_are_named(shell, models):
    write_recipe(models)
    recipe = json.loads(Path(RECIPE).read_text())
    recipe["rows"][0]["alhpa"] = recipe["outputdtype"] = 0.5
    Path(RECIPE).write_text(json.dumps(recipe))
    code, out, _ = shell("merge", RECIPE, "-o", "x.safetensors", "--dry-run")
    assert code == 0
    assert 'Row 1 has a field "alhpa" that nothing reads. Did you mean "alpha"?' in out
    assert 'The recipe has a field "outputdtype" that nothing reads. Did you mean "output' in out


def test_broken_json_is_named_with_its_place(shell, models):
    Path("broken.json").write_text('{\n  "base": "b.safetensors",\n}')
    code, _, err = shell("merge", "broken.json", "-o", "x.safetensors")
    assert code == 1 and '"broken.json": recipe is not JSON at line 3, column 1' in err


def test_a_folder_of_recipes_is_not_one(shell, models):
    code, _, err = shell("merge", "models", "-o", "out")
    assert code == 1 and '"models" is a folder' in err and "Name the files in it." in err


def test_a_recipe_and_an_analysis_come_through_a_pipe(shell, models, monkeypatch):
    code, analysis, _ = shell("analyze", BASE, "models", "--json", "-")
    assert code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(analysis))
    code, out, _ = shell("optimize", "-", "--json")
    assert code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(json.loads(out)["recipe"])))
    arguments = ("merge", "-", "-o", "x.safetensors", "--models-dir", "models")
    assert shell(*arguments)[0] == 0
    assert Path("x.safetensors").exists()


@pytest.mark.parametrize("name", ["bell\x07.safetensors", "line\nbreak.safetensors"])
def test_a_name_that_no_recipe_can_hold_is_refused_at_once(shell, models, name):
    (Path("models") / name).write_bytes(Path(BASE).read_bytes())
    code, _, err = shell("analyze", BASE, "models")
    assert code == 1 and "no recipe can hold the file name" in err and "Rename the file." in err
    assert name not in err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no such names")
def test_a_name_that_is_not_utf_8_is_refused_at_once(shell, models):
    path = os.fsencode("models") + b"/bad\xff.safetensors"
    Path(os.fsdecode(path)).write_bytes(Path(BASE).read_bytes())
    code, _, err = shell("analyze", BASE, "models")
    assert code == 1 and 'no recipe can hold the file name "bad\\xff.safetensors"' in err


def test_what_is_not_there_is_said_to_be_so(shell, models):
    code, _, err = shell("analyze", BASE, "no-such-folder")
    assert code == 1 and '"no-such-folder" does not exist' in err
    write_recipe(models)
    code, _, err = shell("merge", RECIPE, "-o", "x.safetensors", "--models-dir", "nope")
    assert code == 2 and "nope" in err


def test_an_unknown_device_is_one_on_a_known_set_too(shell, models):
    assert shell("analyze", BASE, "models")[0] == 0
    code, _, err = shell("analyze", BASE, "models", "--device", "gpu")
    assert code == 1 and "device" in err


def test_a_dry_run_of_a_batch_makes_no_folder(shell, models):
    write_recipe(models, "one.json")
    write_recipe(models, "two.json")
    names = ("models/one.json", "models/two.json")
    code, _, _ = shell("merge", *names, "-o", "out", "--report", "rep", "--dry-run")
    assert code == 0 and not Path("out").exists() and not Path("rep").exists()
    code, _, _ = shell("merge", "models/one.json", "-o", "gone/x.safetensors", "--dry-run")
    assert code == 1
    assert shell("merge", *names, "-o", "out", "--report", "rep")[0] == 0
    assert {p.name for p in Path("out").iterdir()} == {"one.safetensors", "two.safetensors"}


@pytest.mark.parametrize("columns", [20, 60, 80, 200])
def test_the_bar_stays_on_one_line(monkeypatch, columns):
    drawn = io.StringIO()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("COLUMNS", str(columns))
    with Bar(always=True) as bar:
        bar.start(100.0, "Merging 1300 tensors (Orthogonal projection)")
        bar._begun -= 50.0
        bar._drawn = 0.0
        bar.advance(30.0)
    lines = [line.removeprefix("\x1b[K") for line in drawn.getvalue().split("\r")]
    assert any("30 %" in line for line in lines) or columns < 60
    assert max(len(line) for line in lines) < columns


def test_a_file_that_was_left_out_is_in_the_report(shell, models):
    whole = Path(BASE).read_bytes()
    (Path("models") / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    code, out, _ = shell("analyze", BASE, "models")
    assert code == 0
    assert "**Not in this set**: cut (" in out and "**Leave out**" in out


def test_what_a_full_checkpoint_loses_is_said_before_the_merge(shell, models):
    """Its text encoder and VAE do not get into a result that is the diffusion model alone."""
    inner = load_file("models/base.safetensors")
    whole = {f"model.diffusion_model.{k}": t for k, t in inner.items()}
    whole["first_stage_model.encoder.conv_in.weight"] = torch.zeros(2, 2)
    save_file(whole, "models/base.safetensors")
    said = "The base holds 1 tensor beside the diffusion model"
    for components, lost in (("diffusion", True), ("base", False)):
        write_recipe(models, components=components)
        code, out, _ = shell("merge", RECIPE, "-o", "x.safetensors", "--dry-run")
        assert code == 0
        assert (said in out) == lost


def test_a_broken_header_is_told_by_its_kind_in_json(shell, models):
    Path("models/short.safetensors").write_bytes(b"\1\2")
    code, out, err = shell("verify", "models/short.safetensors", "--json")
    assert code == 1 and "too short to be a safetensors file" in err
    told = json.loads(out)
    assert told["error"] == "HeaderError" and told["kind"] == "too_short"
    assert told["message"] in err
    code, out, _ = shell("inspect", "models/short.safetensors", "--json")
    assert code == 1 and json.loads(out)[0]["kind"] == "too_short"
