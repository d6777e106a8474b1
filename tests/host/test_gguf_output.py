"""A merge saved as GGUF, loaded by ComfyUI-GGUF's own loader and sampled.

`COMFYUI_GGUF_DIR` names a checkout of ComfyUI-GGUF; without it nothing here runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scripts.support.comfy_host import ComfyHost, PromptError
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host
TABLE = json.dumps({"version": 1, "rows": [{"model": "ink", "alpha": 0.3}]})
pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def gguf_host(start_host: Callable[..., ComfyHost]) -> ComfyHost:
    """A ComfyUI with ComfyUI-GGUF beside the pack."""
    folder = os.environ.get("COMFYUI_GGUF_DIR")
    if not folder:
        pytest.skip("COMFYUI_GGUF_DIR names no ComfyUI-GGUF")
    return start_host(custom_nodes=[Path(folder)])


def saved(comfy: ComfyHost, dtype: str) -> str:
    graph = merge_graph(family_files()[:1], TABLE, method="task_arithmetic")
    prefix = f"diffusion_models/as_{dtype}"
    inputs = {"recipe": ["mixer", 0], "filename_prefix": prefix, "output_dtype": dtype}
    graph["file"] = {"class_type": "OrthoMergeSave", "inputs": inputs}
    return str(payload(comfy.prompt(graph), "file")["file"])


@pytest.mark.parametrize(("dtype", "apart"), [("gguf_q8_0", 2.0), ("gguf_q4_0", 25.0)])
def test_comfyui_gguf_loads_and_samples_it(gguf_host: ComfyHost, dtype: str, apart: float):
    graph = merge_graph(family_files()[:1], TABLE, method="task_arithmetic")
    graph["merge"] = {"class_type": "OrthoMergeExecute", "inputs": {"recipe": ["mixer", 0]}}
    plain = pixels(gguf_host, gguf_host.prompt(graph | sampler(["merge", 0])), "save")
    name = saved(gguf_host, dtype).removeprefix("diffusion_models/")
    assert name.endswith(".gguf")
    written = gguf_host.base_dir / "output" / "diffusion_models" / name
    (gguf_host.base_dir / "models" / "diffusion_models" / name).write_bytes(written.read_bytes())
    loader = {"load": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": name}}}
    loaded = pixels(gguf_host, gguf_host.prompt(loader | sampler(["load", 0])), "save")
    assert plain.std() > 5
    assert np.abs(loaded.astype(int) - plain).mean() < apart


def test_a_preview_as_gguf_is_refused_in_words(comfy: ComfyHost):
    graph = merge_graph(family_files()[:1], TABLE, method="task_arithmetic")
    inputs = {"recipe": ["mixer", 0], "output_dtype": "gguf_q8_0"}
    graph["merge"] = {"class_type": "OrthoMergeExecute", "inputs": inputs}
    with pytest.raises((PromptError, Exception)) as refused:
        comfy.prompt(graph | sampler(["merge", 0]), targets=["save"])
    assert "gguf_q8_0" in str(refused.value)
