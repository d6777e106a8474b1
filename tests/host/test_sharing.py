"""Execute and Save of one recipe share one merge, whichever comes first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthomerge_core.execute.output.provenance import recipe_from_metadata
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.renamed import resolve_by_content
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.header import read_header
from scripts.support.comfy_host import ComfyHost
from scripts.support.family import FOLDER
from scripts.support.family_extras import LORA_FILE
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host


def graph_with(alpha: float, dtype: str, save_from: list[Any]) -> dict[str, Any]:
    """Set → mixer → execute and save; `alpha` makes it a merge of the test's own."""
    table = json.dumps({"version": 1, "rows": [{"model": "ink", "alpha": alpha}]})
    graph = merge_graph(family_files()[:1], table=table)
    graph["merge"] = {
        "class_type": "OrthoMergeExecute",
        "inputs": {"recipe": ["mixer", 0], "output_dtype": dtype},
    }
    graph["file"] = {
        "class_type": "OrthoMergeSave",
        "inputs": {
            "recipe": save_from,
            "output_dtype": dtype,
            "filename_prefix": "diffusion_models/shared",
        },
    }
    return graph


def made_before(entry: dict[str, Any], node: str) -> bool:
    """Whether a node's report says that it stored what was there."""
    notes = payload(entry, node)["report"]["notes"]
    return any("made before" in note for note in notes)


def saved(comfy: ComfyHost, entry: dict[str, Any]) -> Path:
    return comfy.base_dir / "output" / payload(entry, "file")["file"]


@pytest.mark.parametrize("dtype", ["base", "bf16", "fp16", "fp32", "fp8_e4m3fn"])
def test_save_after_execute_merges_nothing(comfy: ComfyHost, dtype: str):
    graph = graph_with(0.61, dtype, ["merge", 1]) | sampler(["merge", 0])
    entry = comfy.prompt(graph)
    assert [made_before(entry, node) for node in ("merge", "file")] == [False, True]
    hashes = {payload(entry, node)["report"]["content_hash"] for node in ("merge", "file")}
    found = verify_file(saved(comfy, entry))
    assert found.ok and hashes == {found.computed}
    loader = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": saved(comfy, entry).name, "weight_dtype": "default"},
    }
    again = comfy.prompt({"loaded": loader} | sampler(["loaded", 0]))
    assert np.array_equal(pixels(comfy, entry, "save"), pixels(comfy, again, "save"))


def test_execute_and_save_of_the_mixer_share_one_merge(comfy: ComfyHost):
    graph = graph_with(0.62, "base", ["mixer", 0]) | sampler(["merge", 0])
    entry = comfy.prompt(graph)
    assert sorted(made_before(entry, node) for node in ("merge", "file")) == [False, True]
    hashes = {payload(entry, node)["report"]["content_hash"] for node in ("merge", "file")}
    assert hashes == {verify_file(saved(comfy, entry)).computed}


def test_a_lora_on_the_merge_does_not_get_into_the_file(comfy: ComfyHost):
    graph = graph_with(0.63, "base", ["merge", 1])
    graph["lora"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["merge", 0], "lora_name": LORA_FILE, "strength_model": 1.0},
    }
    graph |= sampler(["lora", 0])
    del graph["file"]
    first = comfy.prompt(graph)
    later = graph_with(0.63, "base", ["merge", 1]) | graph
    entry = comfy.prompt(later)
    assert made_before(entry, "file")
    expected = payload(first, "merge")["report"]["content_hash"]
    assert verify_file(saved(comfy, entry)).computed == expected


def test_another_recipe_and_a_changed_file_are_merged_anew(comfy: ComfyHost):
    first = comfy.prompt(graph_with(0.64, "base", ["merge", 1]))
    other = comfy.prompt(graph_with(0.65, "base", ["mixer", 0]), targets=["file"])
    assert not made_before(other, "file")
    hashes = {payload(e, "file")["report"]["content_hash"] for e in (first, other)}
    assert len(hashes) == 2


def test_a_projection_with_other_alphas_takes_the_grams_of_the_first(comfy: ComfyHost):
    files, hashes, kept = family_files()[:2], [], []
    for alpha in (0.5, 0.8):
        rows = [{"model": Path(name).stem, "alpha": alpha} for name in files]
        table = json.dumps({"version": 1, "rows": rows})
        graph = merge_graph(files, table=table, method="orthogonal_projection")
        graph["file"] = {
            "class_type": "OrthoMergeSave",
            "inputs": {"recipe": ["mixer", 0], "filename_prefix": "diffusion_models/grams"},
        }
        before = grams(comfy)
        entry = comfy.prompt(graph, ["file"])
        kept.append(grams(comfy) - before)
        found = verify_file(saved(comfy, entry))
        hashes.append(payload(entry, "file")["report"]["content_hash"])
        assert found.ok and found.computed == hashes[-1]
        assert hashes[-1] == merged_without_a_cache(saved(comfy, entry), comfy)
    assert hashes[0] != hashes[1]
    assert [len(new) for new in kept] == [1, 0]


def grams(comfy: ComfyHost) -> set[tuple[str, int]]:
    """The Grams that the nodes have kept; one that is written again is another."""
    paths = comfy.base_dir.rglob("*.grams")
    return {(path.name, path.stat().st_ino) for path in paths}


def merged_without_a_cache(file: Path, comfy: ComfyHost) -> str:
    """The content hash of the recipe in a merged file, merged in this process."""
    recipe = recipe_from_metadata(read_header(file).metadata, file.name)
    folder = comfy.base_dir / "models" / "diffusion_models" / FOLDER
    spec = spec_from_recipe(recipe, resolve_by_content(recipe, FolderResolver([folder])))
    with plan_merge(recipe, spec) as plan:
        return run_merge(plan).report.content_hash
