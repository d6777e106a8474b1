"""SD 1.5 checkpoints on a real ComfyUI: merged, sampled, saved, loaded; a VAE baked in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scripts.support.comfy_host import ComfyHost, PromptError
from tests.host.graphs import payload, pixels
from tests.host.test_checkpoints import CLIP, VAE, node, picture, saved_path
from tests.real_checkpoints import UNET, sd15_shapes, tuned, weights

pytestmark = pytest.mark.host

Graph = dict[str, Any]
TEXT = "cond_stage_model."
PIXELS = "first_stage_model."
NAMES = ("base", "a", "b")
VAE_FILE = "sd15-other.safetensors"


@pytest.fixture(scope="module")
def files(comfy: ComfyHost) -> Iterator[dict[str, Path]]:
    """A base and two fine-tunes with trained text encoders, and a VAE alone; removed at the end."""
    models = comfy.base_dir / "models"
    folder = models / "checkpoints" / "sd15"
    folder.mkdir()
    paths = {name: folder / f"{name}.safetensors" for name in NAMES}
    base = weights(sd15_shapes())
    save_file(base, paths["base"], metadata={"format": "pt"})
    for seed, name in enumerate(NAMES[1:], 1):
        save_file(tuned(base, seed, TEXT), paths[name], metadata={"format": "pt"})
    other = tuned({k: t for k, t in base.items() if k.startswith(PIXELS)}, 9, PIXELS, change=0.5)
    paths["vae"] = models / "vae" / VAE_FILE
    save_file({k.removeprefix(PIXELS): t for k, t in other.items()}, paths["vae"])
    yield paths
    for path in (*paths.values(), *(comfy.base_dir / "output" / "checkpoints").glob("*")):
        path.unlink()


def merge(text: float | None = None, **mixer: Any) -> Graph:
    """Set → mixer → execute of both fine-tunes."""
    rows = [{"model": "a", "alpha": 0.6}, {"model": "b", "alpha": 0.3}]
    rows = [row | ({} if text is None else {"text": text}) for row in rows]
    table = json.dumps({"version": 1, "rows": rows})
    return {
        "set": node(
            "OrthoModelSet", base="sd15/base.safetensors",
            models="sd15/a.safetensors\nsd15/b.safetensors",
        ),
        "mixer": node(
            "OrthoMixer", models=["set", 0], method="task_arithmetic", table=table, **mixer
        ),
        "merge": node("OrthoMergeExecute", recipe=["mixer", 0]),
    }  # fmt: skip


def drawn(model: list[Any], clip: list[Any], vae: list[Any], prefix: str = "") -> Graph:
    """A small picture of SD 1.5."""
    graph = picture(model, clip, vae, prefix)
    graph[f"{prefix}size"] = node("EmptyLatentImage", width=64, height=64, batch_size=1)
    return graph


def header(path: Path) -> list[tuple[str, str, list[int]]]:
    """(key, dtype, shape) in the order of the file's header."""
    with path.open("rb") as file:
        found = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    found.pop("__metadata__", None)
    return [(key, entry["dtype"], entry["shape"]) for key, entry in found.items()]


def test_the_saved_checkpoint_is_what_was_executed(comfy: ComfyHost, files: dict[str, Path]):
    graph = merge(text=0.2) | drawn(["merge", 0], ["merge", CLIP], ["merge", VAE])
    graph["file"] = node("OrthoMergeSave", recipe=["merge", 1])
    entry = comfy.prompt(graph)
    shown, path = pixels(comfy, entry, "save"), saved_path(comfy, entry)
    assert path.parent.name == "checkpoints" and shown.std() > 5
    assert header(path) == header(files["base"])

    graph = {"load": node("CheckpointLoaderSimple", ckpt_name=path.name)}
    graph |= drawn(["load", 0], ["load", 1], ["load", 2], prefix="b-")
    np.testing.assert_array_equal(pixels(comfy, comfy.prompt(graph), "b-save"), shown)

    made, base, a, b = (load_file(p) for p in (path, *(files[n] for n in NAMES)))
    for start, wanted in ((TEXT, [0.2, 0.2]), (UNET, [0.6, 0.3])):
        keys = [k for k in base if k.startswith(start) and not torch.equal(a[k], base[k])]
        assert keys
        for key in (keys[0], keys[-1]):
            deltas = [m[key].double().flatten() - base[key].double().flatten() for m in (a, b)]
            change = made[key].double().flatten() - base[key].double().flatten()
            found = torch.linalg.lstsq(torch.stack(deltas, dim=1), change[:, None]).solution
            expected = torch.tensor(wanted).double()
            torch.testing.assert_close(found.flatten(), expected, atol=2e-3, rtol=0)
    assert all(torch.equal(made[k], base[k]) for k in base if k.startswith(PIXELS))


def test_a_vae_of_its_own_file_is_baked_in(comfy: ComfyHost, files: dict[str, Path]):
    graph = merge(vae=VAE_FILE) | drawn(["merge", 0], ["merge", CLIP], ["merge", VAE])
    graph["vae-file"] = node("VAELoader", vae_name=VAE_FILE)
    graph |= drawn(["merge", 0], ["merge", CLIP], ["vae-file", 0], prefix="b-")
    graph["plain"] = node("CheckpointLoaderSimple", ckpt_name="sd15/base.safetensors")
    graph |= drawn(["merge", 0], ["merge", CLIP], ["plain", 2], prefix="c-")
    graph["file"] = node("OrthoMergeSave", recipe=["merge", 1])
    entry = comfy.prompt(graph)
    baked, loaded, of_base = (pixels(comfy, entry, f"{p}save") for p in ("", "b-", "c-"))
    np.testing.assert_array_equal(baked, loaded)
    assert not np.array_equal(baked, of_base)
    made, vae = load_file(saved_path(comfy, entry)), load_file(files["vae"])
    assert all(torch.equal(made[PIXELS + key], tensor) for key, tensor in vae.items())
    with safe_open(saved_path(comfy, entry), "pt") as file:
        told = json.loads(file.metadata()["orthomerge.recipe"])["vae"]
    assert told["from"] == VAE_FILE and len(told["content_hash"]) == 32


def test_the_vae_of_a_model_of_the_set_and_one_that_is_not_there(
    comfy: ComfyHost, files: dict[str, Path]
):
    graph = merge(vae="a")
    graph["file"] = node("OrthoMergeSave", recipe=["mixer", 0], dry_run=True)
    assert payload(comfy.prompt(graph, targets=["file"]), "file")["plan"]["layout"] == "checkpoint"
    graph["mixer"]["inputs"]["vae"] = "sd15-othr.safetensors"
    with pytest.raises(PromptError, match=f'no VAE "sd15-othr.safetensors".*"{VAE_FILE}"'):
        comfy.prompt(graph, targets=["file"])
    graph["mixer"]["inputs"] |= {"vae": "base", "prediction": "v"}
    with pytest.raises(PromptError, match='prediction "v" cannot be asked for'):
        comfy.prompt(graph, targets=["file"])
