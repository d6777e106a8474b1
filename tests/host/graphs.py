"""Graphs for the host tests: the shipped quickstart, and smaller ones beside it."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.support.comfy_host import ComfyHost
from scripts.support.family import CLIP_FILE, FOLDER, MODELS, VAE_FILE

__all__ = [
    "IDS",
    "base_name",
    "family_files",
    "merge_graph",
    "payload",
    "pixels",
    "quickstart",
    "sampler",
    "shown_errors",
]

Graph = dict[str, Any]
QUICKSTART = Path(__file__).parents[2] / "example_workflows" / "api" / "proposal.json"


def quickstart(**inputs: Any) -> Graph:
    """The shipped API prompt with analysis and proposal.

    `OrthoMixer__table="…"` sets an input of that class's node.
    """
    graph: Graph = json.loads(QUICKSTART.read_text(encoding="utf-8"))
    for name, value in inputs.items():
        kind, field = name.split("__")
        graph[IDS[kind]]["inputs"][field] = value
    return graph


def _ids() -> dict[str, str]:
    graph = json.loads(QUICKSTART.read_text(encoding="utf-8"))
    kinds = [node["class_type"] for node in graph.values()]
    return {
        node["class_type"]: key
        for key, node in graph.items()
        if kinds.count(node["class_type"]) == 1
    }


IDS = _ids()


def base_name() -> str:
    """The demo base as the host lists it."""
    return f"{FOLDER}/base.safetensors"


def family_files() -> list[str]:
    """The demo's fine-tunes as the host lists them."""
    return [f"{FOLDER}/{name}.safetensors" for name in MODELS if name != "base"]


def merge_graph(models: list[str], table: str = "", method: str = "task_arithmetic") -> Graph:
    """Set → mixer, as nodes `set` and `mixer`."""
    chosen = {"base": base_name(), "models": "\n".join(models)}
    return {
        "set": {"class_type": "OrthoModelSet", "inputs": chosen},
        "mixer": {
            "class_type": "OrthoMixer",
            "inputs": {"models": ["set", 0], "method": method, "table": table},
        },
    }


def sampler(model: list[Any], prefix: str = "", seed: int = 7) -> Graph:
    """KSampler on `model` (a link) down to a SaveImage; node ids start with `prefix`."""

    def at(name: str, slot: int = 0) -> list[Any]:
        return [prefix + name, slot]

    def node(kind: str, **inputs: Any) -> Graph:
        return {"class_type": kind, "inputs": inputs}

    graph = {
        "clip": node("CLIPLoader", clip_name=CLIP_FILE, type="sd3"),
        "yes": node("CLIPTextEncode", clip=at("clip"), text="a red circle"),
        "no": node("CLIPTextEncode", clip=at("clip"), text=""),
        "size": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "vae": node("VAELoader", vae_name=VAE_FILE),
        "steps": node(
            "KSampler",
            model=copy.copy(model),
            positive=at("yes"),
            negative=at("no"),
            latent_image=at("size"),
            seed=seed,
            steps=4,
            cfg=3.0,
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=at("steps"), vae=at("vae")),
        "save": node("SaveImage", images=at("decode"), filename_prefix="test"),
    }
    return {prefix + name: value for name, value in graph.items()}


def pixels(host: ComfyHost, entry: dict[str, Any], node: str) -> np.ndarray:
    """The first image of a node's output, uint8 [H, W, 3]."""
    data = host.image(entry["outputs"][node]["images"][0])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def payload(entry: dict[str, Any], node: str) -> dict[str, Any]:
    """What one of our nodes told the browser."""
    return entry["outputs"][node]["orthomerge"][0]


def shown_errors(body: dict[str, Any]) -> list[tuple[str, str]]:
    """(class, details) of every node error of an answer to /prompt."""
    return [
        (node["class_type"], error["details"])
        for node in body["node_errors"].values()
        for error in node["errors"]
    ]
