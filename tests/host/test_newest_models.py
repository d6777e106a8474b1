"""Small models of classes that only a newer ComfyUI knows: merged to an image, saved and loaded.

They run where `COMFYUI_DIR` names such a version. Their weights are random; keys, shapes and
detection are those of the host's own classes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.support.comfy_host import ComfyHost
from scripts.support.env import ensure_comfyui
from scripts.support.family import VAE_FILE
from tests.host.graphs import payload, pixels

pytestmark = pytest.mark.host

MODELS: dict[str, dict[str, Any]] = {
    "anima": {
        "module": "comfy.ldm.anima.model",
        "class": "Anima",
        "settings": {
            "image_model": "anima",
            "max_img_h": 240,
            "max_img_w": 240,
            "max_frames": 128,
            "in_channels": 16,
            "out_channels": 16,
            "patch_spatial": 2,
            "patch_temporal": 1,
            "model_channels": 2048,
            "concat_padding_mask": True,
            "crossattn_emb_channels": 1024,
            "pos_emb_cls": "rope3d",
            "pos_emb_learnable": True,
            "use_adaln_lora": True,
            "adaln_lora_dim": 256,
            "num_blocks": 1,
            "num_heads": 16,
            "extra_per_block_abs_pos_emb": False,
        },
        "text": (8, 1024),
        "prefix": "net.",
    },
    "krea2": {
        "module": "comfy.ldm.krea2.model",
        "class": "SingleStreamDiT",
        "settings": {
            "features": 256,
            "heads": 2,
            "kvheads": 1,
            "layers": 2,
            "txtdim": 640,
            "txtlayers": 12,
        },
        "text": (8, 12 * 640),
        "prefix": "",
    },
}

MAKE = """
import importlib, json, sys
sys.argv, (spec, folder) = sys.argv[:1], sys.argv[1:]
import comfy.cli_args
comfy.cli_args.args.cpu = True
import torch
import comfy.ops
from safetensors.torch import save_file
spec = json.loads(spec)
kind = getattr(importlib.import_module(spec["module"]), spec["class"])
model = kind(**spec["settings"], dtype=torch.bfloat16, device="cpu",
             operations=comfy.ops.disable_weight_init)
rng = torch.Generator().manual_seed(0)
base = {}
for key, tensor in model.state_dict().items():
    wide = tensor.shape[-1] if tensor.dim() > 1 else 0
    values = torch.randn(tensor.shape, generator=rng) * (wide ** -0.5 if wide else 0.02)
    base[key] = (values + (1.0 if "norm" in key and not wide else 0.0)).bfloat16()
tuned = {k: (t.float() + 0.3 * t.float().std().nan_to_num() * torch.randn(t.shape, generator=rng))
         .bfloat16() for k, t in base.items()}
for name, state in (("base", base), ("tuned", tuned)):
    state = {spec["prefix"] + key: tensor for key, tensor in state.items()}
    save_file(state, f"{folder}/{name}.safetensors")
"""

SEEDED = '''
import torch
class Seeded:
    """A conditioning of random numbers."""
    @classmethod
    def INPUT_TYPES(cls):
        number = ("INT", {"default": 0, "max": 1 << 20})
        return {"required": {"seed": number, "tokens": number, "width": number}}
    RETURN_TYPES, FUNCTION, CATEGORY = ("CONDITIONING",), "run", "test"
    def run(self, seed, tokens, width):
        rng = torch.Generator().manual_seed(seed)
        return ([[torch.randn(1, tokens, width, generator=rng), {}]],)
NODE_CLASS_MAPPINGS = {"SeededConditioning": Seeded}
'''


@pytest.fixture(scope="module")
def newest(
    start_host: Callable[..., ComfyHost], tmp_path_factory: pytest.TempPathFactory
) -> ComfyHost:
    """A ComfyUI with a node that makes a conditioning from a seed."""
    if not (ensure_comfyui() / "comfy" / "ldm" / "krea2").is_dir():
        pytest.skip("this ComfyUI knows neither Anima nor Krea 2 (COMFYUI_DIR may name a newer)")
    folder = tmp_path_factory.mktemp("nodes") / "seeded"
    folder.mkdir()
    (folder / "__init__.py").write_text(SEEDED, encoding="utf-8")
    return start_host(custom_nodes=[folder])


@pytest.fixture(scope="module", params=MODELS)
def family(request: pytest.FixtureRequest, newest: ComfyHost) -> tuple[str, str]:
    """A base and a tune of one class among the host's models: the class, their folder."""
    spec = MODELS[request.param]
    folder = newest.base_dir / "models" / "diffusion_models" / request.param
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", MAKE, json.dumps(spec), str(folder)]
    made = subprocess.run(command, cwd=newest.comfy_dir, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    return request.param, request.param


def sampled(name: str, model: list[Any]) -> dict[str, Any]:
    """Two steps on random conditionings, down to an image."""
    tokens, width = MODELS[name]["text"]

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    def seeded(seed: int) -> dict[str, Any]:
        return node("SeededConditioning", seed=seed, tokens=tokens, width=width)

    return {
        "yes": seeded(1),
        "no": seeded(2),
        "size": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "vae": node("VAELoader", vae_name=VAE_FILE),
        "steps": node(
            "KSampler",
            model=model,
            positive=["yes", 0],
            negative=["no", 0],
            latent_image=["size", 0],
            seed=7,
            steps=2,
            cfg=2.0,
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=["steps", 0], vae=["vae", 0]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix="newest"),
    }


def merged(folder: str, alpha: float) -> dict[str, Any]:
    row = {"model": "tuned", "alpha": alpha, "touched": ["alpha"]}
    chosen = {"base": f"{folder}/base.safetensors", "models": f"{folder}/tuned.safetensors"}
    mixer = {"models": ["set", 0], "method": "task_arithmetic"}
    mixer["table"] = json.dumps({"version": 1, "rows": [row]})
    return {
        "set": {"class_type": "OrthoModelSet", "inputs": chosen},
        "mixer": {"class_type": "OrthoMixer", "inputs": mixer},
        "merge": {"class_type": "OrthoMergeExecute", "inputs": {"recipe": ["mixer", 0]}},
    }


def test_it_merges_to_an_image_and_a_file_that_shows_the_same(
    newest: ComfyHost, family: tuple[str, str]
):
    name, folder = family
    base = pixels(newest, newest.prompt(merged(folder, 0.0) | sampled(name, ["merge", 0])), "save")
    graph = merged(folder, 0.7)
    entry = newest.prompt(graph | sampled(name, ["merge", 0]))
    live = pixels(newest, entry, "save")
    report = payload(entry, "merge")["report"]
    assert report["keys"]["repaired"] == 0
    assert report["retention"]["tuned"] == pytest.approx(0.7, abs=0.01)
    assert np.abs(live.astype(int) - base).mean() > 0.5
    inputs = {"recipe": ["mixer", 0], "filename_prefix": f"diffusion_models/{name}"}
    graph["file"] = {"class_type": "OrthoMergeSave", "inputs": inputs}
    file = Path(payload(newest.prompt(graph), "file")["file"])
    written = newest.base_dir / "output" / file
    written.rename(newest.base_dir / "models" / "diffusion_models" / file.name)
    loader = {"unet_name": file.name, "weight_dtype": "default"}
    graph = {"load": {"class_type": "UNETLoader", "inputs": loader}}
    loaded = pixels(newest, newest.prompt(graph | sampled(name, ["load", 0])), "save")
    assert np.array_equal(live, loaded)


def test_a_quantized_merge_of_it_loads(newest: ComfyHost, family: tuple[str, str]):
    name, folder = family
    plain = newest.prompt(merged(folder, 0.7) | sampled(name, ["merge", 0]))
    graph = merged(folder, 0.7)
    graph["merge"]["inputs"]["output_dtype"] = "int8_convrot"
    entry = newest.prompt(graph | sampled(name, ["merge", 0]))
    apart = np.abs(pixels(newest, entry, "save").astype(int) - pixels(newest, plain, "save"))
    assert apart.mean() < 12
