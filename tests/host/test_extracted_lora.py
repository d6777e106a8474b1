"""A LoRA taken from a model and loaded by ComfyUI onto the base draws what the model draws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.linalg.low_rank import RankRule
from orthomerge_core.lora.extract import extract_lora
from scripts.support.comfy_host import ComfyHost, PromptError
from scripts.support.family import FOLDER
from tests.host.graphs import base_name, payload, pixels, sampler

pytestmark = pytest.mark.host

RANKS = (1, 4, 16, 64)
LEAST_DB = 38.0
"""Of the LoRA of rank 64 in fp16: colors differ by 1.3 % of their range in the mean square."""


def loaded(name: str) -> dict:
    return {"class_type": "UNETLoader", "inputs": {"unet_name": name, "weight_dtype": "default"}}


def picture(comfy: ComfyHost, model: str, lora: str = "") -> np.ndarray:
    graph = {"loaded": loaded(model)}
    if lora:
        inputs = {"model": ["loaded", 0], "lora_name": lora, "strength_model": 1.0}
        graph["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    entry = comfy.prompt(graph | sampler(["lora" if lora else "loaded", 0]))
    return pixels(comfy, entry, "save").astype(np.float64)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit pictures."""
    error = float(np.square(a - b).mean())
    return 10 * math.log10(255.0**2 / error) if error else math.inf


@pytest.mark.parametrize("naming", ["kohya", "comfyui"])
def test_the_picture_comes_nearer_with_the_rank(comfy: ComfyHost, naming: str) -> None:
    folder = comfy.base_dir / "models" / "diffusion_models" / FOLDER
    loras = comfy.base_dir / "models" / "loras"
    wanted = picture(comfy, f"{FOLDER}/ink.safetensors")
    near = [psnr(picture(comfy, base_name()), wanted)]
    with open_set(
        spec_from_paths(folder / "base.safetensors", [folder / "ink.safetensors"])
    ) as aligned:
        for rank in RANKS:
            name = f"ink_{naming}_{rank}.safetensors"
            extract_lora(
                aligned, "ink", loras / name, RankRule("fixed", rank), naming=naming, overwrite=True
            )
            near.append(psnr(picture(comfy, base_name(), name), wanted))
    assert all(second > first - 0.5 for first, second in itertools.pairwise(near)), near
    assert near[-1] > max(LEAST_DB, near[0] + 15), near


def extraction(**inputs: object) -> dict:
    """A set of the demo's ink alone, and the node on it."""
    names = {"base": base_name(), "models": f"{FOLDER}/ink.safetensors"}
    return {
        "set": {"class_type": "OrthoModelSet", "inputs": names},
        "lora": {
            "class_type": "OrthoExtractLoRA",
            "inputs": {"models": ["set", 0], "name": "ink", **inputs},
        },
    }


def test_the_node_saves_a_lora_and_says_what_it_holds(comfy: ComfyHost) -> None:
    entry = comfy.prompt(extraction(rank_rule="energy", fraction=0.9, max_rank=128))
    told = payload(entry, "lora")
    path = comfy.base_dir / "output" / told["file"]
    assert path.parent.name == "loras" and path.suffix == ".safetensors"
    assert 0.9 <= told["report"]["kept"] < 1.0
    assert "of the change's energy" in told["text"]
    assert all(0 <= layer["rank"] <= 128 for layer in told["report"]["layers"])


def test_the_node_names_what_it_does_not_know(comfy: ComfyHost) -> None:
    with pytest.raises(PromptError) as caught:
        comfy.prompt(extraction(delta_from="imk"))
    assert 'no model "imk" in the set. Did you mean "ink"?' in str(caught.value)
