"""The same graphs under ComfyUI's own switches: caches and the loading of weights.

Two recipes after each other, a LoRA on the merge, and ModelSave, each against the pictures that a
ComfyUI without switches gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.support.comfy_host import ComfyHost
from scripts.support.env import ensure_comfyui
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host

SWITCHES = {
    "no cache": ["--cache-none"],
    "cache of 1": ["--cache-lru", "1"],
    "cache by RAM": ["--cache-ram"],
    "static weights": ["--disable-dynamic-vram"],
}
LAYER = "diffusion_model.joint_blocks.0.x_block.attn.qkv"


def graph_of(alpha: float, lora: bool = False) -> dict[str, Any]:
    table = json.dumps({"version": 1, "rows": [{"model": "ink", "alpha": alpha}]})
    graph = merge_graph(
        [name for name in family_files() if name.endswith("/ink.safetensors")], table
    )
    graph["merge"] = {"class_type": "OrthoMergeExecute", "inputs": {"recipe": ["mixer", 0]}}
    model: list[Any] = ["merge", 0]
    if lora:
        inputs = {"model": model, "lora_name": "switches.safetensors", "strength_model": 1.0}
        graph["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
        model = ["lora", 0]
    return graph | sampler(model)


def make_lora(comfy: ComfyHost) -> None:
    folder = comfy.base_dir / "models" / "loras"
    folder.mkdir(exist_ok=True)
    rng = torch.Generator().manual_seed(5)
    tensors = {
        f"{LAYER}.lora_up.weight": torch.randn(384, 4, generator=rng) * 0.4,
        f"{LAYER}.lora_down.weight": torch.randn(4, 128, generator=rng) * 0.4,
    }
    save_file(tensors, folder / "switches.safetensors")


def pictures(comfy: ComfyHost) -> list[np.ndarray]:
    """One recipe, another, the first again, the first with a LoRA, and once more without."""
    make_lora(comfy)
    graphs = [graph_of(1.0), graph_of(0.4), graph_of(1.0), graph_of(1.0, lora=True), graph_of(1.0)]
    for number, graph in enumerate(graphs):  # a saved picture is not told again from every cache
        graph["save"]["inputs"]["filename_prefix"] = f"switches-{number}"
    return [pixels(comfy, comfy.prompt(graph), "save") for graph in graphs]


@pytest.fixture(scope="module")
def plain(comfy: ComfyHost) -> list[np.ndarray]:
    """What a ComfyUI without switches shows."""
    return pictures(comfy)


def test_each_run_has_a_model_of_its_own(plain: list[np.ndarray]):
    """Nothing of another recipe or of a LoRA stays behind."""
    first, other, again, with_lora, after = plain
    assert np.array_equal(first, again) and np.array_equal(first, after)
    assert np.abs(first.astype(int) - other).mean() > 0.5
    assert np.abs(first.astype(int) - with_lora).mean() > 0.5


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_changes_no_picture_and_no_file(
    switch: str, plain: list[np.ndarray], start_host: Callable[..., ComfyHost]
):
    arguments = SWITCHES[switch]
    known = (ensure_comfyui() / "comfy" / "cli_args.py").read_text(encoding="utf-8")
    if f'"{arguments[0]}"' not in known:
        pytest.skip(f"this ComfyUI has no {arguments[0]}")
    host = start_host(arguments=arguments)
    try:
        for shown, expected in zip(pictures(host), plain, strict=True):
            assert np.array_equal(shown, expected)
        graph = graph_of(1.0)
        saver = {"model": ["merge", 0], "filename_prefix": "diffusion_models/core"}
        graph["core"] = {"class_type": "ModelSave", "inputs": saver}
        own = {"recipe": ["mixer", 0], "filename_prefix": "diffusion_models/own"}
        graph["file"] = {"class_type": "OrthoMergeSave", "inputs": own}
        entry = host.prompt(graph)
        made = load_file(host.base_dir / "output" / payload(entry, "file")["file"])
        (core,) = (host.base_dir / "output" / "diffusion_models").glob("core_*.safetensors")
        saved = load_file(core)
        for key, weight in made.items():
            theirs = saved.get(key, saved.get(f"model.diffusion_model.{key}"))
            assert theirs is not None and torch.equal(theirs.to(weight.dtype), weight), key
    finally:
        host.stop()
