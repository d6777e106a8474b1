"""Full checkpoints on a real ComfyUI: MODEL, CLIP and VAE of a merge, and the file it becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scripts.support.checkpoints import CHECKPOINT_FOLDER
from scripts.support.comfy_host import ComfyHost, PromptError
from tests.host.graphs import family_files, merge_graph, payload, pixels, sampler

pytestmark = pytest.mark.host

Graph = dict[str, Any]
CLIP, VAE = 4, 5
"""Outputs of OrthoMergeExecute."""
TEXT = "text_encoders.clip_l.transformer."
LAYER, BLOCK = "encoder.layers.3.mlp.fc2", "joint_blocks.0.x_block.mlp.fc1"
LORA_KEYS = {
    f"lora_te1_text_model_{LAYER.replace('.', '_')}": f"{TEXT}text_model.{LAYER}.weight",
    f"lora_unet_{BLOCK.replace('.', '_')}": f"model.diffusion_model.{BLOCK}.weight",
}
"""A layer's name in a LoRA of kohya → its key in the checkpoints."""


def node(kind: str, **inputs: Any) -> Graph:
    return {"class_type": kind, "inputs": inputs}


def name_of(model: str) -> str:
    return f"{CHECKPOINT_FOLDER}/{model}.safetensors"


def path_of(comfy: ComfyHost, model: str) -> Path:
    return comfy.base_dir / "models" / "checkpoints" / name_of(model)


def merge(text: float | None = None, alpha: float = 0.7, **mixer: Any) -> Graph:
    """Set → mixer → execute of two fine-tuned checkpoints."""
    rows = [{"model": "star", "alpha": alpha}, {"model": "photo", "alpha": 0.5}]
    if text is not None:
        rows = [row | {"text": text} for row in rows]
    table = json.dumps({"version": 1, "rows": rows})
    graph = merge_graph([name_of("star"), name_of("photo")], table=table)
    graph["set"]["inputs"]["base"] = name_of("base")
    graph["mixer"]["inputs"] |= mixer
    graph["merge"] = node("OrthoMergeExecute", recipe=["mixer", 0])
    return graph


def picture(model: list[Any], clip: list[Any], vae: list[Any], prefix: str = "") -> Graph:
    """A sampler whose text encoder and VAE are links instead of loaders."""
    graph = sampler(model, prefix)
    del graph[f"{prefix}clip"], graph[f"{prefix}vae"]
    for name in ("yes", "no"):
        graph[prefix + name]["inputs"]["clip"] = clip
    graph[f"{prefix}decode"]["inputs"]["vae"] = vae
    return graph


def saved_path(comfy: ComfyHost, entry: dict[str, Any]) -> Path:
    return comfy.base_dir / "output" / payload(entry, "file")["file"]


def test_the_executed_picture_is_that_of_the_saved_checkpoint(comfy: ComfyHost):
    graph = merge(text=0.2) | picture(["merge", 0], ["merge", CLIP], ["merge", VAE])
    graph["file"] = node("OrthoMergeSave", recipe=["merge", 1])
    entry = comfy.prompt(graph)
    shown, file = pixels(comfy, entry, "save"), payload(entry, "file")["file"]
    assert file.startswith("checkpoints/OrthoMerge")
    loader = node("CheckpointLoaderSimple", ckpt_name=Path(file).name)
    loaded = comfy.prompt(
        {"load": loader} | picture(["load", 0], ["load", 1], ["load", 2], prefix="b-")
    )
    np.testing.assert_array_equal(pixels(comfy, loaded, "b-save"), shown)
    assert shown.std() > 5


def test_the_saved_file_has_exactly_the_header_of_the_base(comfy: ComfyHost):
    graph = merge(text=0.2)
    graph["file"] = node("OrthoMergeSave", recipe=["mixer", 0], filename_prefix="checkpoints/keys")
    path = saved_path(comfy, comfy.prompt(graph, targets=["file"]))
    with safe_open(path, "pt") as made, safe_open(path_of(comfy, "base"), "pt") as base:
        assert list(made.keys()) == list(base.keys())
        for key in base.keys():  # noqa: SIM118
            ours, theirs = made.get_slice(key), base.get_slice(key)
            assert (ours.get_dtype(), ours.get_shape()) == (theirs.get_dtype(), theirs.get_shape())


def test_text_alpha_is_measured_in_the_file(comfy: ComfyHost):
    graph = merge(text=0.2)
    graph["file"] = node("OrthoMergeSave", recipe=["mixer", 0], filename_prefix="checkpoints/text")
    made = load_file(saved_path(comfy, comfy.prompt(graph, targets=["file"])))
    base, star, photo = (load_file(path_of(comfy, n)) for n in ("base", "star", "photo"))
    key = f"{TEXT}text_model.encoder.layers.11.mlp.fc1.weight"
    change = made[key].double() - base[key].double()
    deltas = [m[key].double() - base[key].double() for m in (star, photo)]
    basis = torch.stack([d.flatten() for d in deltas], dim=1)
    found = torch.linalg.lstsq(basis, change.flatten()[:, None]).solution.flatten()
    torch.testing.assert_close(found, torch.tensor([0.2, 0.2]).double(), atol=2e-3, rtol=0)


def test_clip_is_made_only_where_it_is_connected(comfy: ComfyHost):
    alone = comfy.prompt(merge(alpha=0.41) | sampler(["merge", 0]))
    assert payload(alone, "merge")["report"]["layout"] == "diffusion"
    both = merge(alpha=0.41) | picture(["merge", 0], ["merge", CLIP], ["merge", VAE])
    entry = comfy.prompt(both)
    assert payload(entry, "merge")["report"]["layout"] == "checkpoint"
    assert "merge" not in comfy.cached_nodes(entry)
    assert "merge" in comfy.cached_nodes(comfy.prompt(both))


def test_a_base_without_text_encoder_says_so(comfy: ComfyHost):
    graph = merge_graph(family_files()[:1], table="")
    graph["merge"] = node("OrthoMergeExecute", recipe=["mixer", 0])
    entry = comfy.prompt(graph | picture(["merge", 0], ["merge", CLIP], ["merge", VAE]))
    assert "save" not in entry["outputs"]
    assert payload(entry, "merge")["report"]["notes"][-2:] == [
        "The base holds no text encoder. Connect a loader of CLIP instead.",
        "The base holds no VAE. Connect a loader of VAE instead.",
    ]


def test_diffusion_only_says_so(comfy: ComfyHost):
    graph = merge()
    graph["fix"] = node("CompatibilityFix", models=["set", 0], strip_vae=True)
    graph["mixer"]["inputs"]["models"] = ["fix", 0]
    entry = comfy.prompt(graph | picture(["merge", 0], ["merge", CLIP], ["merge", VAE]))
    assert "save" not in entry["outputs"]
    assert (
        "Only the diffusion models of these files are taken, so there is no CLIP."
        in payload(entry, "merge")["text"]
    )


@pytest.mark.parametrize(
    ("layout", "folder", "prefix"),
    [
        ("diffusion", "diffusion_models", ""),
        ("checkpoint", "checkpoints", "model.diffusion_model."),
    ],
)
def test_layout_decides_the_file_and_its_folder(
    comfy: ComfyHost, layout: str, folder: str, prefix: str
):
    graph = merge()
    graph["file"] = node("OrthoMergeSave", recipe=["mixer", 0], layout=layout)
    path = saved_path(comfy, comfy.prompt(graph, targets=["file"]))
    assert path.parent.name == folder
    with safe_open(path, "pt") as made:
        assert f"{prefix}final_layer.linear.weight" in made.keys()  # noqa: SIM118


def test_a_checkpoint_of_a_diffusion_only_base_is_refused(comfy: ComfyHost):
    graph = merge_graph(family_files()[:1], table="")
    graph["file"] = node("OrthoMergeSave", recipe=["mixer", 0], layout="checkpoint")
    with pytest.raises(PromptError, match="no checkpoint can be written: the base holds no text"):
        comfy.prompt(graph, targets=["file"])


def test_a_dry_run_shows_the_plan_of_what_is_connected(comfy: ComfyHost):
    graph = merge() | picture(["merge", 0], ["merge", CLIP], ["merge", VAE])
    graph["merge"]["inputs"]["dry_run"] = True
    plan = payload(comfy.prompt(graph), "merge")["plan"]
    assert plan["layout"] == "checkpoint"
    assert set(plan["components"]) == {"diffusion", "text_encoder.l", "vae"}


def test_a_lora_behind_the_merge_reaches_model_and_clip(comfy: ComfyHost):
    lora = {}
    for name, rows in (("lora_te1_text_model_encoder_layers_11_mlp_fc2", (768, 3072)),):
        lora[f"{name}.lora_up.weight"] = torch.full((rows[0], 1), 0.5)
        lora[f"{name}.lora_down.weight"] = torch.full((1, rows[1]), 0.05)
        lora[f"{name}.alpha"] = torch.tensor(1.0)
    save_file(lora, comfy.base_dir / "models" / "loras" / "text-only.safetensors")
    graph = merge() | picture(["merge", 0], ["merge", CLIP], ["merge", VAE])
    plain = pixels(comfy, comfy.prompt(graph), "save")
    graph["lora"] = node(
        "LoraLoader", model=["merge", 0], clip=["merge", CLIP], lora_name="text-only.safetensors",
        strength_model=1.0, strength_clip=1.0,
    )  # fmt: skip
    for name in ("yes", "no"):
        graph[name]["inputs"]["clip"] = ["lora", 1]
    graph["steps"]["inputs"]["model"] = ["lora", 0]
    assert not np.array_equal(pixels(comfy, comfy.prompt(graph), "save"), plain)


@pytest.mark.parametrize("name", ["base", "star"])
def test_a_picked_checkpoint_draws_what_its_loader_draws(comfy: ComfyHost, name: str):
    graph = merge()
    graph["pick"] = node("OrthoPickModel", models=["set", 0], name=name)
    graph |= picture(["pick", 0], ["pick", 1], ["pick", 2])
    graph["load"] = node("CheckpointLoaderSimple", ckpt_name=name_of(name))
    graph |= picture(["load", 0], ["load", 1], ["load", 2], prefix="b-")
    entry = comfy.prompt(graph)
    np.testing.assert_array_equal(pixels(comfy, entry, "save"), pixels(comfy, entry, "b-save"))


def test_a_set_that_takes_diffusion_models_alone(comfy: ComfyHost):
    graph = merge()
    graph["set"]["inputs"]["components"] = "diffusion"
    graph["file"] = node("OrthoMergeSave", recipe=["mixer", 0])
    graph["pick"] = node("OrthoPickModel", models=["set", 0], name="star")
    graph |= picture(["pick", 0], ["pick", 1], ["pick", 2])
    entry = comfy.prompt(graph)
    assert payload(entry, "file")["report"]["layout"] == "diffusion"
    assert "save" not in entry["outputs"]


def test_a_lora_file_is_a_row_of_the_set(comfy: ComfyHost):
    """Model and text encoder of base + 1 · LoRA draw what LoraLoader draws, up to rounding."""
    generator, lora = torch.Generator().manual_seed(3), {}
    base = load_file(path_of(comfy, "base"))
    for kohya, key in LORA_KEYS.items():
        rows, columns = base[key].shape
        size = 0.1 * base[key].float().std()
        lora[f"{kohya}.lora_up.weight"] = size * torch.randn(rows, 4, generator=generator)
        lora[f"{kohya}.lora_down.weight"] = torch.randn(4, columns, generator=generator) / 2
        lora[f"{kohya}.alpha"] = torch.tensor(4.0)
    save_file(lora, comfy.base_dir / "models" / "loras" / "row.safetensors")
    table = json.dumps({"version": 1, "rows": [{"model": "row", "alpha": 1.0}]})
    graph = merge_graph(["row.safetensors"], table=table)
    graph["set"]["inputs"]["base"] = name_of("base")
    graph["merge"] = node("OrthoMergeExecute", recipe=["mixer", 0], output_dtype="fp32")
    graph |= picture(["merge", 0], ["merge", CLIP], ["merge", VAE])
    graph["load"] = node("CheckpointLoaderSimple", ckpt_name=name_of("base"))
    graph["lora"] = node(
        "LoraLoader", model=["load", 0], clip=["load", 1], lora_name="row.safetensors",
        strength_model=1.0, strength_clip=1.0,
    )  # fmt: skip
    graph |= picture(["lora", 0], ["lora", 1], ["load", 2], prefix="b-")
    graph |= picture(["load", 0], ["load", 1], ["load", 2], prefix="c-")
    entry = comfy.prompt(graph)
    ours, theirs, plain = (pixels(comfy, entry, f"{p}save").astype(int) for p in ("", "b-", "c-"))
    assert abs(ours - theirs).mean() < 0.1 * abs(plain - theirs).mean()
