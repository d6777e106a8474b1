"""A merge in each quantizing output dtype: saved, loaded by ComfyUI's own loader, and sampled."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from orthomerge_core.io.quant.encoders import all_encoders
from scripts.support.comfy_host import ComfyHost, PromptError
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host
TABLE = json.dumps({"version": 1, "rows": [{"model": "ink", "alpha": 0.3}]})
NAMES = tuple(name for name, encoder in all_encoders().items() if not encoder.in_gguf)


def knows(comfy: ComfyHost, dtype: str) -> bool:
    """Whether this ComfyUI lists the format among those of its layers."""
    text = (comfy.comfy_dir / "comfy" / "quant_ops.py").read_text(encoding="utf-8")
    return f'"{all_encoders()[dtype].format}"' in text


def graph_of(dtype: str) -> dict[str, Any]:
    graph = merge_graph(family_files()[:1], TABLE, method="task_arithmetic")
    execute = {"recipe": ["mixer", 0], "output_dtype": dtype}
    graph["merge"] = {"class_type": "OrthoMergeExecute", "inputs": execute}
    return graph


def saved(comfy: ComfyHost, dtype: str) -> str:
    graph = merge_graph(family_files()[:1], TABLE, method="task_arithmetic")
    prefix = f"diffusion_models/as_{dtype}"
    inputs = {"recipe": ["mixer", 0], "filename_prefix": prefix, "output_dtype": dtype}
    graph["file"] = {"class_type": "OrthoMergeSave", "inputs": inputs}
    return str(payload(comfy.prompt(graph), "file")["file"])


@pytest.mark.parametrize("dtype", NAMES)
def test_the_model_and_the_loaded_file_show_the_merge(comfy: ComfyHost, dtype: str):
    if not knows(comfy, dtype):
        pytest.skip(f"this ComfyUI does not know {dtype}")
    plain = pixels(comfy, comfy.prompt(graph_of("bf16") | sampler(["merge", 0])), "save")
    live = pixels(comfy, comfy.prompt(graph_of(dtype) | sampler(["merge", 0])), "save")
    name = saved(comfy, dtype).removeprefix("diffusion_models/")
    loaders = comfy.base_dir / "models" / "diffusion_models"
    (loaders / name).write_bytes(
        (comfy.base_dir / "output" / "diffusion_models" / name).read_bytes()
    )
    inputs = {"unet_name": name, "weight_dtype": "default"}
    loader = {"load": {"class_type": "UNETLoader", "inputs": inputs}}
    loaded = pixels(comfy, comfy.prompt(loader | sampler(["load", 0])), "save")
    assert np.array_equal(live, loaded)
    off = np.abs(live.astype(int) - plain).mean()
    assert plain.std() > 5
    assert off < (25 if dtype == "nvfp4" else 6), off


@pytest.mark.parametrize("dtype", NAMES)
def test_a_format_that_comfyui_does_not_know_is_refused_by_name(comfy: ComfyHost, dtype: str):
    if knows(comfy, dtype):
        pytest.skip(f"this ComfyUI knows {dtype}")
    with pytest.raises(PromptError) as refused:
        comfy.prompt(graph_of(dtype) | sampler(["merge", 0]))
    form = all_encoders()[dtype].format
    said = f"this ComfyUI does not know the quantization {form}"
    assert said in refused.value.message
    assert saved(comfy, dtype).endswith(".safetensors")
