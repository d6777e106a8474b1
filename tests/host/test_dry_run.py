"""A dry run in the graph, the picture of what is kept, and a recipe whose sources were renamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orthomerge_core.execute.output.verify import verify_file
from scripts.support.comfy_host import ComfyHost, PromptError
from scripts.support.family import FOLDER
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host


def graph_with(**inputs: Any) -> dict[str, Any]:
    """Set → mixer → Execute → picture, and Save of the same recipe."""
    graph = merge_graph(family_files()[:2])
    graph["merge"] = {
        "class_type": "OrthoMergeExecute",
        "inputs": {"recipe": ["mixer", 0], **inputs},
    }
    graph["file"] = {
        "class_type": "OrthoMergeSave",
        "inputs": {
            "recipe": ["mixer", 0],
            "filename_prefix": "diffusion_models/dry",
            **inputs,
        },
    }
    graph["words"] = {"class_type": "PreviewAny", "inputs": {"source": ["merge", 2]}}
    return graph | sampler(["merge", 0])


def test_a_dry_run_says_what_is_needed_and_merges_nothing(comfy: ComfyHost):
    entry = comfy.prompt(graph_with(dry_run=True))
    assert "save" not in entry["outputs"]  # what follows the MODEL waited
    plan = payload(entry, "merge")
    assert plan["kind"] == "plan"
    assert {"read_mib", "output_mib", "ram_mib", "seconds"} <= plan["plan"]["estimate"].keys()
    assert plan["text"].startswith("Dry run: nothing was merged.\n")
    assert entry["outputs"]["words"]["text"] == [plan["text"]]
    stored = payload(entry, "file")
    assert stored["plan"]["estimate"]["free_disk_mib"] > 0
    assert "MiB free." in stored["text"]
    assert not list((comfy.base_dir / "output").rglob("dry*"))
    assert str(comfy.base_dir) not in json.dumps(entry)


def test_a_dry_run_finds_what_is_wrong(comfy: ComfyHost):
    graph = graph_with(dry_run=True)
    graph["mixer"]["inputs"]["method"] = "slerp"
    with pytest.raises(PromptError, match="too many active rows: expected at most 1, received 2"):
        comfy.prompt(graph)


def test_what_is_kept_comes_as_a_picture(comfy: ComfyHost):
    graph = graph_with()
    graph["picture"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["merge", 3], "filename_prefix": "kept"},
    }
    entry = comfy.prompt(graph, ["picture"])
    drawn = pixels(comfy, entry, "picture")
    assert drawn.shape[1] == 1024 and drawn.std() > 5


def test_sources_are_found_by_content_after_they_were_renamed(comfy: ComfyHost):
    table = json.dumps({"version": 1, "rows": [{"model": "photo", "alpha": 0.27}]})
    (file,) = [name for name in family_files() if name.endswith("/photo.safetensors")]
    graph = merge_graph([file], table=table)
    prefix = "diffusion_models/renamed"
    graph["file"] = {
        "class_type": "OrthoMergeSave",
        "inputs": {"recipe": ["mixer", 0], "filename_prefix": prefix},
    }
    first = comfy.prompt(graph, ["file"])
    saved = comfy.base_dir / "output" / payload(first, "file")["file"]
    folder = comfy.base_dir / "models" / "diffusion_models" / FOLDER
    (folder / "photo.safetensors").rename(folder / "holiday.safetensors")
    back = {
        "load": {"class_type": "OrthoRecipe", "inputs": {"file": saved.name}},
        "file": {
            "class_type": "OrthoMergeSave",
            "inputs": {"recipe": ["load", 0], "filename_prefix": prefix},
        },
    }
    try:
        again = comfy.prompt(back)
    finally:
        (folder / "holiday.safetensors").rename(folder / "photo.safetensors")
    copy = comfy.base_dir / "output" / payload(again, "file")["file"]
    assert copy != saved
    assert verify_file(copy).computed == verify_file(saved).computed


def test_disable_metadata_leaves_the_recipe_out(start_host: Any):
    """ComfyUI's own switch; the content hash stays, so that `verify` still works."""
    host: ComfyHost = start_host(arguments=("--disable-metadata",))
    graph = merge_graph(family_files()[:1])
    graph["file"] = {"class_type": "OrthoMergeSave", "inputs": {"recipe": ["mixer", 0]}}
    entry = host.prompt(graph, ["file"])
    found = verify_file(Path(host.base_dir / "output" / payload(entry, "file")["file"]))
    assert found.ok and found.expected == payload(entry, "file")["report"]["content_hash"]
    assert found.recipe is None
    host.stop()
