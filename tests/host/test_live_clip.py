"""MODEL and CLIP of the graph as one model of the set, on a real ComfyUI."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scripts.support.comfy_host import ComfyHost, PromptError
from tests.host.graphs import merge_graph, payload, pixels
from tests.host.test_checkpoints import (
    CLIP,
    LORA_KEYS,
    VAE,
    name_of,
    node,
    path_of,
    picture,
    saved_path,
)

pytestmark = pytest.mark.host
LORA = "live.safetensors"


@pytest.fixture(autouse=True)
def lora(comfy: ComfyHost) -> None:
    """A LoRA of one layer of the diffusion model and one of the text encoder."""
    generator, tensors = torch.Generator().manual_seed(5), {}
    base = load_file(path_of(comfy, "base"))
    for kohya, key in LORA_KEYS.items():
        rows, columns = base[key].shape
        size = 0.1 * base[key].float().std()
        tensors[f"{kohya}.lora_up.weight"] = size * torch.randn(rows, 4, generator=generator)
        tensors[f"{kohya}.lora_down.weight"] = torch.randn(4, columns, generator=generator) / 2
        tensors[f"{kohya}.alpha"] = torch.tensor(4.0)
    save_file(tensors, comfy.base_dir / "models" / "loras" / LORA)


def lora_graph(*, clip: bool) -> dict[str, Any]:
    """base + 1 · (what LoraLoader gives), merged as a MODEL of the graph."""
    table = json.dumps({"version": 1, "rows": [{"model": "mine", "alpha": 1.0}]})
    graph = merge_graph([], table=table)
    graph["set"]["inputs"] |= {"base": name_of("base"), "models": name_of("star")}
    graph["load"] = node("CheckpointLoaderSimple", ckpt_name=name_of("base"))
    graph["lora"] = node(
        "LoraLoader", model=["load", 0], clip=["load", 1], lora_name=LORA,
        strength_model=1.0, strength_clip=1.0,
    )  # fmt: skip
    graph["add"] = node("OrthoAddModel", models=["set", 0], model=["lora", 0], name="mine")
    if clip:
        graph["add"]["inputs"]["clip"] = ["lora", 1]
    graph["mixer"]["inputs"]["models"] = ["add", 0]
    graph["merge"] = node("OrthoMergeExecute", recipe=["mixer", 0], output_dtype="fp32")
    return graph


def test_model_and_clip_are_merged_as_lora_loader_applies_them(comfy: ComfyHost):
    graph = lora_graph(clip=True)
    graph |= picture(["merge", 0], ["merge", CLIP], ["merge", VAE])
    graph |= picture(["lora", 0], ["lora", 1], ["load", 2], prefix="b-")
    graph |= picture(["load", 0], ["load", 1], ["load", 2], prefix="c-")
    graph |= picture(["merge", 0], ["load", 1], ["load", 2], prefix="d-")
    entry = comfy.prompt(graph)
    shown = {p: pixels(comfy, entry, f"{p}save").astype(int) for p in ("", "b-", "c-", "d-")}
    apart = abs(shown["c-"] - shown["b-"]).mean()
    assert abs(shown[""] - shown["b-"]).mean() < 0.1 * apart
    assert abs(shown["d-"] - shown["b-"]).mean() > 0.1 * apart  # the text encoder matters
    parts = payload(entry, "merge")["report"]["retention_by_component"]
    assert parts["text_encoder.l"]["mine"] == pytest.approx(1.0, abs=1e-3)


def test_without_a_clip_the_text_encoder_stays_the_bases(comfy: ComfyHost):
    graph = lora_graph(clip=False)
    graph |= picture(["merge", 0], ["merge", CLIP], ["merge", VAE])
    graph |= picture(["merge", 0], ["load", 1], ["load", 2], prefix="b-")
    entry = comfy.prompt(graph)
    np.testing.assert_array_equal(pixels(comfy, entry, "save"), pixels(comfy, entry, "b-save"))
    assert "no change there" in payload(entry, "merge")["text"]


def test_the_file_says_that_it_cannot_be_repeated(comfy: ComfyHost):
    graph = lora_graph(clip=True)
    graph["file"] = node("OrthoMergeSave", recipe=["mixer", 0], filename_prefix="checkpoints/live")
    graph["text"] = node("OrthoRecipe", recipe=["mixer", 0], export="json")
    graph["shown"] = node("PreviewAny", source=["text", 1])
    entry = comfy.prompt(graph, targets=["file", "shown"])
    assert "mine is a connected MODEL, which no recipe can hold" in payload(entry, "file")["text"]
    with safe_open(saved_path(comfy, entry), "pt") as file:
        metadata = file.metadata()
    assert "Not repeatable from files alone: mine" in metadata["modelspec.description"]
    for text in (metadata["orthomerge.recipe"], payload(entry, "text")["text"]):
        assert json.loads(text)["models"]["mine"]["live"] is True
        again = {"recipe": node("OrthoRecipe", json=text)}
        again["shown"] = node("PreviewAny", source=["recipe", 1])
        with pytest.raises(PromptError, match='"mine" was a MODEL connected in ComfyUI'):
            comfy.prompt(again)


def test_a_picked_model_of_the_graph_has_its_clip(comfy: ComfyHost):
    graph = lora_graph(clip=True)
    graph["pick"] = node("OrthoPickModel", models=["add", 0], name="mine")
    graph |= picture(["pick", 0], ["pick", 1], ["load", 2])
    graph |= picture(["lora", 0], ["lora", 1], ["load", 2], prefix="b-")
    entry = comfy.prompt(graph)
    np.testing.assert_array_equal(pixels(comfy, entry, "save"), pixels(comfy, entry, "b-save"))
