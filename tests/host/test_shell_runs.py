"""The shell's `grid` and `tune` on a running ComfyUI: it merges and samples, the shell decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orthomerge_core.cli.app import run
from scripts.support.comfy_host import ComfyHost
from tests.host.graphs import base_name, family_files, merge_graph, sampler

pytestmark = pytest.mark.host


@pytest.fixture
def shell(comfy: ComfyHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    """Run a command in a folder with `recipe.json` and `workflow.json`: its JSON answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORTHOMERGE_CACHE", str(tmp_path / "cache"))
    ink, paint = (f for f in family_files() if Path(f).stem in ("ink", "paint"))
    recipe = {
        "base": base_name(),
        "models": {"ink": {"file": ink}, "paint": {"file": paint}},
        "rows": [{"model": "ink"}, {"model": "paint"}],
        "method": "task_arithmetic",
    }
    Path("recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    graph = merge_graph([ink, paint]) | sampler(["merge", 0])
    graph["merge"] = {"class_type": "OrthoMergeExecute", "inputs": {"recipe": ["mixer", 0]}}
    graph["pick"] = {
        "class_type": "OrthoPickModel",
        "inputs": {"models": ["set", 0], "name": "ink"},
    }
    graph |= sampler(["pick", 0], prefix="ink_")
    graph["alike"] = {
        "class_type": "OrthoPictureScore",
        "inputs": {"images": ["decode", 0], "reference": ["ink_decode", 0]},
    }
    Path("workflow.json").write_text(json.dumps(graph), encoding="utf-8")

    def call(command: str, *arguments: str) -> dict[str, Any]:
        common = ("--workflow", "workflow.json", "--api", comfy.url, "--json", "--quiet")
        with pytest.raises(SystemExit) as left:
            run([command, "recipe.json", *arguments, *common])
        out = capsys.readouterr()
        assert left.value.code == 0, out.err
        return json.loads(out.out)

    return call


def test_a_grid_is_made_once_and_continues(shell: Any):
    axis = ("--axis", "ink.alpha=0,1", "-o", "cells", "--image", "save")
    found = shell("grid", *axis)
    assert len(found["cells"]) == 2 and Path("cells", found["picture"]).exists()
    files = sorted(path for path in Path("cells").glob("00*.png"))
    first, second = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in files)
    assert abs(first - second).mean() > 2  # another merge is another picture
    times = [path.stat().st_mtime_ns for path in files]
    files[1].unlink()
    shell("grid", *axis)
    again = [path.stat().st_mtime_ns for path in files]
    assert again[0] == times[0] and again[1] > times[1]


def test_a_search_scores_what_the_server_draws(shell: Any):
    search = ("--param", "ink.alpha=0:1", "--param", "paint.alpha=0:1", "--score", "alike.0")
    found = shell("tune", *search, "--trials", "3", "--study", "s", "-o", "best.json")
    assert found["counts"]["complete"] == 3
    best = json.loads(Path("best.json").read_text(encoding="utf-8"))
    assert {row["model"] for row in best["rows"]} == {"ink", "paint"}
    assert shell("tune", *search, "--trials", "4", "--study", "s")["counts"]["complete"] == 4
