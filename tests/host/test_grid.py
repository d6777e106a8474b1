"""A grid on the real host: every cell's picture, one result in memory, recipes in the PNG."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orthomerge_core.recipe import codec
from scripts.support.comfy_host import ComfyHost
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host


def grid_graph(columns: str, rows: str = "", method: str = "task_arithmetic") -> dict[str, Any]:
    """Set → mixer → grid → execute → KSampler → grid picture."""

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    graph = merge_graph(family_files()[:2], method=method)
    graph["grid"] = node("OrthoGrid", recipe=["mixer", 0], columns=columns, rows=rows)
    graph["merge"] = node("OrthoMergeExecute", recipe=["grid", 0])
    graph |= sampler(["merge", 0])
    graph["picture"] = node("OrthoGridPicture", images=["decode", 0], grid=["grid", 1])
    return graph


def stored(comfy: ComfyHost, entry: dict[str, Any]) -> Image.Image:
    """The PNG that the picture node saved."""
    return Image.open(io.BytesIO(comfy.image(entry["outputs"]["picture"]["images"][0])))


def test_every_cell_is_the_merge_of_its_recipe(comfy: ComfyHost):
    entry = comfy.prompt(grid_graph("alpha = 0.25, 1", "method = average, task_arithmetic"))
    told = json.loads(stored(comfy, entry).text["orthomerge.grid"])
    assert [axis["name"] for axis in told["axes"]] == ["alpha", "method"]
    shown = [comfy.image(item) for item in entry["outputs"]["save"]["images"]]
    assert len(shown) == len(told["cells"]) == 4
    for cell, data in zip(told["cells"], shown, strict=True):
        graph = {
            "recipe": {"class_type": "OrthoRecipe", "inputs": {"json": json.dumps(cell["recipe"])}},
            "merge": {"class_type": "OrthoMergeExecute", "inputs": {"recipe": ["recipe", 0]}},
        }
        alone = comfy.prompt(graph | sampler(["merge", 0]))
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert np.array_equal(image, pixels(comfy, alone, "save")), cell["labels"]
        kept = payload(alone, "merge")["report"]["retention"]
        for name, share in kept.items():
            assert f"{name} {share * 100:.0f} %" in cell["caption"]


def test_the_recipes_are_in_the_picture_with_prompt_and_workflow_off_or_on(comfy: ComfyHost):
    entry = comfy.prompt(grid_graph("strength = 1", "alpha = 0.5"))
    picture = stored(comfy, entry)
    assert json.loads(picture.text["prompt"])["grid"]["class_type"] == "OrthoGrid"
    cells = json.loads(picture.text["orthomerge.grid"])["cells"]
    assert [codec.from_json(cell["recipe"]).rows[0].alpha for cell in cells] == [0.5]
    assert payload(entry, "picture")["cells"] == cells


def test_a_lora_behind_a_cell_and_a_second_run_change_no_other_cell(comfy: ComfyHost):
    graph = grid_graph("alpha = 0.5, 1")
    first = comfy.prompt(graph)
    graph["steps"]["inputs"]["seed"] = 8
    comfy.prompt(graph)
    graph["steps"]["inputs"]["seed"] = 7
    graph["steps"]["inputs"]["steps"] = 4
    again = comfy.prompt(graph)
    before = [comfy.image(item) for item in first["outputs"]["save"]["images"]]
    after = [comfy.image(item) for item in again["outputs"]["save"]["images"]]
    for one, two in zip(before, after, strict=True):
        assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(x))) for x in (one, two)))
