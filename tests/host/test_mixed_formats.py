"""A bf16 base with models in four formats, merged by the real ComfyUI to an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.support.comfy_host import ComfyHost
from scripts.support.family import FOLDER
from scripts.support.family_extras import scaled_fp8
from tests.host.graphs import base_name, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host

gguf = pytest.importorskip("gguf")
Tensors = dict[str, torch.Tensor]
FILES = {
    "plain": "mixed/plain.safetensors",
    "scaled": "mixed/scaled.safetensors",
    "packed": "mixed/packed.gguf",
    "complete": "complete.safetensors",
}


@pytest.fixture(scope="module")
def formats(comfy: ComfyHost) -> dict[str, str]:
    """One model of the family per format, under the names that the host lists."""
    models = comfy.base_dir / "models"
    weights = models / "diffusion_models"
    names = ("ink", "paint", "photo", "ink-fine")
    family = {name: load_file(weights / FOLDER / f"{name}.safetensors") for name in names}
    (weights / "mixed").mkdir(exist_ok=True)
    save_file(family["ink"], weights / FILES["plain"])
    save_file(scaled_fp8(family["paint"]), weights / FILES["scaled"])
    write_q8(family["photo"], weights / FILES["packed"])
    (models / "checkpoints").mkdir(exist_ok=True)
    save_file(checkpoint(family["ink-fine"]), models / "checkpoints" / FILES["complete"])
    return FILES


def checkpoint(inner: Tensors) -> Tensors:
    """A diffusion model with its text encoder and VAE in one file."""
    return {f"model.diffusion_model.{key}": value for key, value in inner.items()} | {
        "text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight": torch.ones(
            8, 4
        ),
        "first_stage_model.decoder.conv_in.weight": torch.ones(4, 4, 3, 3),
    }


def write_q8(weights: Tensors, path: Path) -> None:
    """Matrices as Q8_0 blocks, everything else as float32."""
    writer = gguf.GGUFWriter(path, "sd3")
    q8 = gguf.GGMLQuantizationType.Q8_0
    for key, weight in weights.items():
        values = weight.float().numpy()
        if weight.dim() == 2:
            writer.add_tensor(key, gguf.quants.quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(key, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def graph_of(files: dict[str, str], alpha: float, method: str) -> dict[str, Any]:
    rows = [{"model": n, "alpha": alpha, "touched": ["alpha"]} for n in files]
    table = json.dumps({"version": 1, "rows": rows})
    graph = merge_graph(list(files.values()), table=table, method=method)
    graph["fix"] = {"class_type": "CompatibilityFix", "inputs": {"models": ["set", 0]}}
    graph["mixer"]["inputs"]["models"] = ["fix", 0]
    graph["merge"] = {"class_type": "OrthoMergeExecute", "inputs": {"recipe": ["mixer", 0]}}
    return graph


def test_four_formats_merge_to_an_image(comfy: ComfyHost, formats: dict[str, str]):
    runs = {
        method: comfy.prompt(graph_of(formats, 1.0, method) | sampler(["merge", 0]))
        for method in ("average", "orthomerge")
    }
    found = {report["name"]: report for report in payload(runs["average"], "fix")["models"]}
    assert all(report["ok"] for report in found.values())
    assert set(found) == {"base", *formats}
    for entry in runs.values():
        assert pixels(comfy, entry, "save").std() > 5
        report = payload(entry, "merge")["report"]
        assert report["keys"]["repaired"] == 0
        assert set(report["retention"]) == set(formats)


def test_quantised_twins_show_what_the_originals_show(comfy: ComfyHost, formats: dict[str, str]):
    originals = {
        name: f"{FOLDER}/{name}.safetensors" for name in ("ink", "paint", "photo", "ink-fine")
    }
    images = []
    for files in (formats, originals):
        entry = comfy.prompt(graph_of(files, 1.0, "average") | sampler(["merge", 0]))
        images.append(pixels(comfy, entry, "save").astype(int))
    base = comfy.prompt(graph_of(originals, 0.0, "average") | sampler(["merge", 0]))
    moved = np.abs(images[1] - pixels(comfy, base, "save")).mean()
    assert np.abs(images[0] - images[1]).mean() < 0.5 * moved


def test_alpha_zero_gives_the_bases_bytes(comfy: ComfyHost, formats: dict[str, str]):
    graph = graph_of(formats, 0.0, "orthomerge")
    graph["file"] = {
        "class_type": "OrthoMergeSave",
        "inputs": {"recipe": ["merge", 1], "filename_prefix": "diffusion_models/zero"},
    }
    entry = comfy.prompt(graph)
    merged = load_file(comfy.base_dir / "output" / payload(entry, "file")["file"])
    base = load_file(comfy.base_dir / "models" / "diffusion_models" / base_name())
    assert merged.keys() == base.keys()
    for key, weight in base.items():
        assert merged[key].dtype == weight.dtype
        assert torch.equal(merged[key].view(torch.uint8), weight.view(torch.uint8)), key
