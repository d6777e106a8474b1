"""The stop button in the middle of a merge: it ends early, and no file is left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from scripts.support.comfy_host import ComfyHost, PromptError

pytestmark = pytest.mark.host

SIZE, LAYERS = 768, 40


@pytest.fixture(scope="module")
def slow_set(comfy: ComfyHost) -> dict[str, Any]:
    """Three files of no known architecture, large enough for a merge of many seconds."""
    folder = comfy.base_dir / "models" / "diffusion_models" / "slow"
    folder.mkdir()
    generator = torch.Generator().manual_seed(3)
    base = {
        f"blocks.{i}.weight": torch.randn(SIZE, SIZE, generator=generator) for i in range(LAYERS)
    }
    for name, strength in (("base", 0.0), ("one", 0.02), ("two", 0.03)):
        tensors = {
            key: (value + strength * torch.randn(SIZE, SIZE, generator=generator)).bfloat16()
            for key, value in base.items()
        }
        save_file(tensors, folder / f"{name}.safetensors")
    names = {
        "base": "slow/base.safetensors",
        "models": "slow/one.safetensors\nslow/two.safetensors",
    }
    return {"class_type": "OrthoModelSet", "inputs": names}


def files(comfy: ComfyHost) -> set[Path]:
    return {path for path in (comfy.base_dir / "output").rglob("*") if path.is_file()}


def test_interrupt_stops_early_and_leaves_nothing(comfy: ComfyHost, slow_set: dict[str, Any]):
    graph = {
        "set": slow_set,
        "mixer": {
            "class_type": "OrthoMixer",
            "inputs": {"models": ["set", 0], "method": "orthomerge"},
        },
        "file": {"class_type": "OrthoMergeSave", "inputs": {"recipe": ["mixer", 0]}},
    }
    before = files(comfy)
    prompt = comfy.queue(graph, ["file"])
    deadline = time.monotonic() + 60
    while files(comfy) == before:  # the temporary file appears when the merge begins
        assert time.monotonic() < deadline
        time.sleep(0.02)
    asked = time.monotonic()
    comfy.interrupt()
    with pytest.raises(PromptError) as caught:
        comfy.result(prompt, timeout_s=600)
    stopped_s = time.monotonic() - asked
    assert caught.value.kind == "execution_interrupted"
    assert files(comfy) == before
    # The control is the same merge, left alone on a machine that is just as busy.
    asked = time.monotonic()
    comfy.prompt(graph, ["file"])
    assert stopped_s < 0.5 * (time.monotonic() - asked)


def test_the_next_prompt_runs(comfy: ComfyHost, slow_set: dict[str, Any]):
    graph = {
        "set": slow_set,
        "mixer": {
            "class_type": "OrthoMixer",
            "inputs": {"models": ["set", 0], "method": "average"},
        },
        "file": {"class_type": "OrthoMergeSave", "inputs": {"recipe": ["mixer", 0]}},
    }
    entry = comfy.prompt(graph, ["file"])
    made = comfy.base_dir / "output" / entry["outputs"]["file"]["orthomerge"][0]["file"]
    assert made.stat().st_size > SIZE * SIZE * LAYERS
