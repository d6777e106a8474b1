"""The merged MODEL in ComfyUI's own hands: saved and loaded again, with a LoRA, and as a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from orthomerge_core.execute.output.verify import verify_file
from scripts.support.comfy_host import ComfyHost
from tests.host.graphs import base_name, family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host

LORA = "orthomerge_test_lora.safetensors"
LAYER = "diffusion_model.joint_blocks.0.x_block.attn.qkv"


@pytest.fixture(scope="module")
def lora(comfy: ComfyHost) -> str:
    """A strong rank-4 LoRA on one layer."""
    folder = comfy.base_dir / "models" / "loras"
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    tensors = {
        f"{LAYER}.lora_up.weight": torch.randn(384, 4, generator=generator) * 0.4,
        f"{LAYER}.lora_down.weight": torch.randn(4, 128, generator=generator) * 0.4,
    }
    save_file(tensors, folder / LORA)
    return LORA


def with_lora(model: list[Any], name: str) -> dict[str, Any]:
    inputs = {"model": model, "lora_name": name, "strength_model": 1.0}
    return {"class_type": "LoraLoaderModelOnly", "inputs": inputs}


def execute(recipe: list[Any]) -> dict[str, Any]:
    return {"class_type": "OrthoMergeExecute", "inputs": {"recipe": recipe}}


def saved(comfy: ComfyHost, entry: dict[str, Any], node: str = "file") -> Path:
    return comfy.base_dir / "output" / payload(entry, node)["file"]


@pytest.mark.parametrize("method", ["task_arithmetic", "orthomerge"])
def test_saved_merge_gives_the_same_image_as_the_model(comfy: ComfyHost, method: str):
    graph = merge_graph(family_files()[:3], method=method)
    graph |= {"merge": execute(["mixer", 0])} | sampler(["merge", 0])
    graph["file"] = {"class_type": "OrthoMergeSave", "inputs": {"recipe": ["merge", 1]}}
    entry = comfy.prompt(graph)
    path = saved(comfy, entry)
    name = path.relative_to(comfy.base_dir / "output" / "diffusion_models").as_posix()
    loader = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": name, "weight_dtype": "default"},
    }
    again = comfy.prompt({"loaded": loader} | sampler(["loaded", 0]))
    assert np.array_equal(pixels(comfy, entry, "save"), pixels(comfy, again, "save"))
    hashes = {payload(entry, node)["report"]["content_hash"] for node in ("merge", "file")}
    report = verify_file(path)
    assert report.ok
    assert hashes == {report.computed}


def test_lora_after_the_merge_and_model_save(comfy: ComfyHost, lora: str):
    graph = merge_graph(family_files()[:2]) | {"merge": execute(["mixer", 0])}
    graph["lora"] = with_lora(["merge", 0], lora)
    graph |= sampler(["merge", 0], "plain_") | sampler(["lora", 0], "lora_")
    graph["keep"] = {
        "class_type": "ModelSave",
        "inputs": {"model": ["merge", 0], "filename_prefix": "diffusion_models/kept"},
    }
    entry = comfy.prompt(graph)
    plain, changed = (pixels(comfy, entry, f"{kind}_save") for kind in ("plain", "lora"))
    assert not np.array_equal(plain, changed)
    (path,) = (comfy.base_dir / "output" / "diffusion_models").glob("kept_*.safetensors")
    with safe_open(path, "pt") as file:
        stored = len(list(file.keys()))
    counts = payload(entry, "merge")["report"]["keys"]
    assert stored == counts["merged"] + counts["from_base"]


def test_model_with_a_lora_becomes_a_row(comfy: ComfyHost, lora: str):
    loader = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": base_name(), "weight_dtype": "default"},
    }
    graph = merge_graph(family_files()[:1])
    graph |= {"loaded": loader, "lora": with_lora(["loaded", 0], lora)}
    graph["add"] = {
        "class_type": "OrthoAddModel",
        "inputs": {"models": ["set", 0], "model": ["lora", 0], "name": "my-lora"},
    }
    graph["fix"] = {"class_type": "CompatibilityFix", "inputs": {"models": ["add", 0]}}
    graph["look"] = {
        "class_type": "DeltaGramAnalyzer",
        "inputs": {"models": ["fix", 0], "rank_samples": 1},
    }
    table = '{"version": 1, "rows": [{"model": "my-lora", "alpha": 1}], "removed": ["ink"]}'
    graph["mixer"]["inputs"] |= {"models": ["fix", 0], "table": table}
    graph["merge"] = execute(["mixer", 0])
    graph |= sampler(["merge", 0], "row_") | sampler(["lora", 0], "direct_")
    graph |= sampler(["loaded", 0], "base_")
    entry = comfy.prompt(graph)
    assert payload(entry, "look")["names"] == ["ink", "my-lora"]
    row, direct, base = (
        pixels(comfy, entry, f"{kind}_save").astype(int) for kind in ("row", "direct", "base")
    )
    assert np.abs(direct - base).mean() > 1
    assert np.abs(row - direct).mean() < 0.25 * np.abs(direct - base).mean()
    retention = payload(entry, "merge")["report"]["retention"]
    assert list(retention.values()) == pytest.approx([1.0], abs=0.05)


def analysed_lora(lora: str, strength: float, dtype: str = "default") -> dict[str, Any]:
    """A LoRA on the base as the only row of an analysis; nothing is sampled."""
    inputs = {"unet_name": base_name(), "weight_dtype": dtype}
    patch = with_lora(["loaded", 0], lora)
    patch["inputs"]["strength_model"] = strength
    add = {"models": ["set", 0], "model": ["lora", 0], "name": "my-lora"}
    graph = merge_graph(family_files()[:1])
    del graph["mixer"]
    return graph | {
        "loaded": {"class_type": "UNETLoader", "inputs": inputs},
        "lora": patch,
        "add": {"class_type": "OrthoAddModel", "inputs": add},
        "look": {
            "class_type": "DeltaGramAnalyzer",
            "inputs": {"models": ["add", 0], "rank_samples": 0},
        },
    }


def kept_analyses(comfy: ComfyHost) -> set[str]:
    folder = comfy.base_dir / "user" / "__orthomerge" / "analysis"
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_loras_strength_is_part_of_what_is_cached(comfy: ComfyHost, lora: str):
    first = comfy.prompt(analysed_lora(lora, 1.0))
    again = comfy.prompt(analysed_lora(lora, 1.0))
    assert {"lora", "add", "look"} <= comfy.cached_nodes(again)
    known = kept_analyses(comfy)
    weaker = comfy.prompt(analysed_lora(lora, 0.5))
    assert not {"lora", "add", "look"} & comfy.cached_nodes(weaker)
    assert payload(weaker, "look")["text"] != payload(first, "look")["text"]
    assert len(kept_analyses(comfy)) == len(known) + 1
    known = kept_analyses(comfy)
    back = comfy.prompt(analysed_lora(lora, 1.0))  # the host runs it anew; its content is known
    assert "look" not in comfy.cached_nodes(back)
    assert payload(back, "look")["text"] == payload(first, "look")["text"]
    assert kept_analyses(comfy) == known


def test_a_model_that_the_host_holds_in_fp8_is_a_row_too(comfy: ComfyHost, lora: str):
    graph = analysed_lora(lora, 0.75, "fp8_e4m3fn")
    graph["fix"] = {"class_type": "CompatibilityFix", "inputs": {"models": ["add", 0]}}
    entry = comfy.prompt(graph)
    assert payload(entry, "look")["names"] == ["ink", "my-lora"]
    report = payload(entry, "fix")["models"][2]
    assert report["name"] == "my-lora" and report["coverage_frac"] == 1.0
    assert "F8_E4M3" in report["dtype"] and report["repairs"] == ["dequantise"]


def test_picked_model_is_that_model(comfy: ComfyHost):
    (file,) = family_files()[2:3]
    graph = merge_graph([file])
    del graph["mixer"]
    name = Path(file).stem
    graph["pick"] = {"class_type": "OrthoPickModel", "inputs": {"models": ["set", 0], "name": name}}
    graph["loaded"] = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": file, "weight_dtype": "default"},
    }
    graph |= sampler(["pick", 0], "picked_") | sampler(["loaded", 0], "loaded_")
    entry = comfy.prompt(graph)
    assert np.array_equal(pixels(comfy, entry, "picked_save"), pixels(comfy, entry, "loaded_save"))


def test_empty_model_list_takes_the_base_folder(comfy: ComfyHost):
    graph = merge_graph([])
    graph["look"] = {"class_type": "CompatibilityFix", "inputs": {"models": ["set", 0]}}
    entry = comfy.prompt(graph, ["look", "mixer"])
    found = {report["name"] for report in payload(entry, "look")["models"]} - {"base"}
    assert found == {Path(name).stem for name in family_files()}


def test_recipe_comes_back_out_of_a_saved_file(comfy: ComfyHost):
    table = '{"version": 1, "rows": [{"model": "ink", "alpha": 0.25}]}'
    graph = merge_graph(family_files()[:1], table=table)
    graph["file"] = {
        "class_type": "OrthoMergeSave",
        "inputs": {"recipe": ["mixer", 0], "filename_prefix": "diffusion_models/round"},
    }
    entry = comfy.prompt(graph, ["file"])
    name = saved(comfy, entry).name
    back = {
        "load": {"class_type": "OrthoRecipe", "inputs": {"file": name}},
        "file": {
            "class_type": "OrthoMergeSave",
            "inputs": {"recipe": ["load", 0], "filename_prefix": "diffusion_models/round"},
        },
    }
    again = comfy.prompt(back)
    assert '"alpha": 0.25' in payload(again, "load")["text"]
    first, second = (payload(run, "file")["report"]["content_hash"] for run in (entry, again))
    assert first == second


def test_every_output_dtype_runs_and_shows_nearly_the_same(comfy: ComfyHost):
    graph = merge_graph(family_files()[:2])
    for dtype in ("base", "bf16", "fp16", "fp32", "fp8_e4m3fn"):
        graph[f"{dtype}_merge"] = execute(["mixer", 0])
        graph[f"{dtype}_merge"]["inputs"]["output_dtype"] = dtype
        graph |= sampler([f"{dtype}_merge", 0], f"{dtype}_")
    entry = comfy.prompt(graph)
    reference = pixels(comfy, entry, "fp32_save").astype(int)
    for dtype, tolerance in (("base", 2), ("bf16", 2), ("fp16", 2), ("fp8_e4m3fn", 8)):
        difference = np.abs(pixels(comfy, entry, f"{dtype}_save") - reference).mean()
        assert difference < tolerance, dtype
    hashes = {d: payload(entry, f"{d}_merge")["report"]["content_hash"] for d in ("base", "bf16")}
    assert hashes["base"] == hashes["bf16"]


def test_a_saved_fp8_merge_loads(comfy: ComfyHost):
    graph = merge_graph(family_files()[:2]) | {"merge": execute(["mixer", 0])}
    graph["merge"]["inputs"]["output_dtype"] = "fp8_e4m3fn"
    graph |= sampler(["merge", 0], seed=8)
    graph["file"] = {"class_type": "OrthoMergeSave", "inputs": {"recipe": ["merge", 1]}}
    entry = comfy.prompt(graph)
    path = saved(comfy, entry)
    loader = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": path.name, "weight_dtype": "default"},
    }
    again = comfy.prompt({"loaded": loader} | sampler(["loaded", 0], seed=8))
    assert np.array_equal(pixels(comfy, entry, "save"), pixels(comfy, again, "save"))
    assert verify_file(path).ok
