"""A merge of four 2 GB models through a real ComfyUI, to an image and to a saved file.

    python benchmarks/big_merge.py [--double 2] [--single 3] [--steps 2] [--json big_merge.json]

The models have Chroma's key names and real widths (3072) with few blocks, so that ComfyUI detects
and runs them; weights are random, a fine-tune is the base moved by 2 % (values repeat every 16
million elements, seeds are fixed, so that every run makes the same bytes). The text encoder and the
decoder are the demo's small ones: the picture is noise, but every node does its real work.

Four steps, each in a process of its own: the shell's merge into a file; ComfyUI's Save node alone;
Execute → KSampler → VAEDecode → SaveImage with Save of the same recipe; and `verify` of every file.
Content hashes must agree, or the benchmark fails. Seconds are the system's clock; memory is the
process's peak in that step, and what it held before. Beside them stands what the plan's dry run
estimated. Everything lies in a temporary folder (`--folder` for another disk; 18 GB are needed) and
is removed at the end; `--models` keeps the models in a folder of their own for the next run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.support.comfy_host import ComfyHost
from scripts.support.env import ensure_comfyui
from scripts.support.family import CLIP_FILE, VAE_FILE, make_helpers
from tests.inventories import inventory

Graph = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
MODELS = ("one", "two", "three", "four")
PERIOD, CHANGE = 1 << 24, 0.02
ALPHA = 0.5


def shapes(double: int, single: int) -> dict[str, tuple[int, ...]]:
    """Chroma's keys with fewer blocks."""
    limits = {"double_blocks": double, "single_blocks": single}
    kept = {}
    for key, shape in inventory("chroma").items():
        group, number = key.split(".")[:2]
        if group not in limits or int(number) < limits[group]:
            kept[key] = shape
    return kept


def make_models(folder: Path, keys: Mapping[str, tuple[int, ...]]) -> int:
    """Write the base and its fine-tunes as bf16; returns the bytes of one."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = torch.randn(PERIOD, generator=torch.Generator().manual_seed(0))
    for number, name in enumerate(("base", *MODELS)):
        tensors = {}
        for place, (key, shape) in enumerate(keys.items()):
            base = _initial(key, shape, pool, place)
            if number:
                noise = _repeated(pool, (7919 * place + 104_729 * number) % PERIOD, base.numel())
                base += noise.view(shape) * (CHANGE * float(base.square().mean().sqrt()))
            tensors[key] = base.to(torch.bfloat16)
        save_file(tensors, folder / f"{name}.safetensors")
    return (folder / "base.safetensors").stat().st_size


def _initial(key: str, shape: tuple[int, ...], pool: torch.Tensor, place: int) -> torch.Tensor:
    """Scales are 1, biases small, matrices keep the size of what passes through them."""
    if key.endswith("scale"):
        return torch.ones(shape)
    size = 0.02 if len(shape) < 2 else 1 / math.sqrt(shape[-1])
    return _repeated(pool, (6_700_417 * place) % PERIOD, math.prod(shape)).view(shape) * size


def _repeated(pool: torch.Tensor, start: int, count: int) -> torch.Tensor:
    turned = pool.roll(-start)
    return turned.repeat(-(-count // PERIOD))[:count]


def recipe() -> dict[str, Any]:
    """Four rows of task_arithmetic."""
    return {
        "base": "base.safetensors",
        "models": {name: f"{name}.safetensors" for name in MODELS},
        "rows": [{"model": name, "alpha": ALPHA} for name in MODELS],
        "method": "task_arithmetic",
    }


def save_graph() -> Graph:
    """Set → mixer → Save."""
    rows = [{"model": n, "alpha": ALPHA, "touched": ["alpha"]} for n in MODELS]
    names = {
        "base": "big/base.safetensors",
        "models": "\n".join(f"big/{n}.safetensors" for n in MODELS),
    }
    mixer = {
        "models": ["set", 0],
        "method": "task_arithmetic",
        "table": json.dumps({"version": 1, "rows": rows}),
    }
    return {
        "set": {"class_type": "OrthoModelSet", "inputs": names},
        "mixer": {"class_type": "OrthoMixer", "inputs": mixer},
        "file": {"class_type": "OrthoMergeSave", "inputs": {"recipe": ["mixer", 0]}},
    }


def image_graph(steps: int) -> Graph:
    """Set → mixer → Execute → KSampler → VAEDecode → SaveImage, and Save of the same recipe."""

    def node(kind: str, **inputs: Any) -> Graph:
        return {"class_type": kind, "inputs": inputs}

    graph = save_graph()
    graph["file"]["inputs"]["recipe"] = ["merge", 1]
    return graph | {
        "merge": node("OrthoMergeExecute", recipe=["mixer", 0]),
        "clip": node("CLIPLoader", clip_name=CLIP_FILE, type="sd3"),
        "text": node("CLIPTextEncode", clip=["clip", 0], text="a red circle"),
        "size": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "vae": node("VAELoader", vae_name=VAE_FILE),
        "steps": node(
            "KSampler",
            model=["merge", 0],
            positive=["text", 0],
            negative=["text", 0],
            latent_image=["size", 0],
            seed=7,
            steps=steps,
            cfg=1.0,
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=["steps", 0], vae=["vae", 0]),
        "image": node("SaveImage", images=["decode", 0], filename_prefix="big"),
    }


@contextmanager
def host(base: Path) -> Iterator[ComfyHost]:
    """A ComfyUI with the pack, ended afterwards."""
    with ComfyHost(ensure_comfyui(), base) as running:
        yield running


def memory_mib(process: int, what: str) -> float:
    """VmRSS or VmHWM of a process (Linux)."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith(what)), math.nan)


def in_comfy(base: Path, graph: Graph) -> tuple[dict[str, Any], dict[str, Any]]:
    """(figures, history entry) of one prompt on a fresh ComfyUI."""
    with host(base) as running:
        before = memory_mib(running.pid, "VmRSS")
        begun = time.perf_counter()
        entry = running.prompt(graph, timeout_s=1200)
        seconds = time.perf_counter() - begun
        peak = memory_mib(running.pid, "VmHWM")
    reports = {n: entry["outputs"][n]["orthomerge"][0] for n in ("merge", "file") if n in graph}
    found = {
        "seconds": seconds,
        "before_mib": before,
        "peak_mib": peak,
        "merge_seconds": {n: r["report"]["seconds"] for n, r in reports.items()},
        "content_hash": sorted({r["report"]["content_hash"] for r in reports.values()}),
        "file": reports["file"]["file"],
    }
    return found, entry


def in_shell(folder: Path, base: Path, *more: str) -> dict[str, Any]:
    """What `python -m orthomerge_core merge` says of the same merge."""
    (base / "recipe.json").write_text(json.dumps(recipe()), encoding="utf-8")
    command = [sys.executable, "-m", "orthomerge_core", "merge", str(base / "recipe.json")]
    command += ["-o", str(base / "shell.safetensors"), "--models-dir", str(folder)]
    command += ["--no-cache", "--json", "--quiet", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """A step of the table from the shell's report."""
    return {
        "seconds": report["seconds"],
        "peak_mib": report["peak_rss_mib"],
        "content_hash": [report["content_hash"]],
        "file": "shell.safetensors",
    }


def verified(path: Path) -> str:
    """The content hash that `verify` computes; fails where it is not the header's."""
    command = [sys.executable, "-m", "orthomerge_core", "verify", str(path), "--json", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["computed"])


def measure(root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Make the models, run all steps, compare the hashes."""
    weights = args.models or root / "weights"
    made = weights / "four.safetensors"
    if not made.exists():
        make_models(weights, shapes(args.double, args.single))
    make_helpers(root / "models")
    (root / "models" / "diffusion_models").mkdir()
    (root / "models" / "diffusion_models" / "big").symlink_to(weights.resolve())
    if args.only_models:
        raise SystemExit("the models are made")
    planned = in_shell(weights, root, "--dry-run")["estimate"]
    results: dict[str, Any] = {"shell": figures(in_shell(weights, root))}
    results["save node"], _ = in_comfy(root, save_graph())
    results["image and save"], entry = in_comfy(root, image_graph(args.steps))
    files = [root / "shell.safetensors"]
    files += [root / "output" / results[n]["file"] for n in ("save node", "image and save")]
    hashes = {verified(path) for path in files}
    claimed = {h for result in results.values() for h in result["content_hash"]}
    if len(hashes) != 1 or hashes != claimed:
        raise SystemExit(f"content hashes differ: files {hashes}, reports {claimed}")
    image = entry["outputs"]["image"]["images"][0]
    shown = root / "output" / image["subfolder"] / image["filename"]
    about = {
        "model_bytes": made.stat().st_size,
        "models": len(MODELS),
        "image_bytes": shown.stat().st_size,
        "estimate": planned,
        "file_bytes": files[0].stat().st_size,
    }
    if args.image:
        args.image.write_bytes(shown.read_bytes())
    return about | {"content_hash": hashes.pop(), "steps": results}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--double", type=int, default=2, help="double blocks, 450 MB each")
    parser.add_argument("--single", type=int, default=3, help="single blocks, 230 MB each")
    parser.add_argument("--steps", type=int, default=2, help="of the sampler")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--models", type=Path, help="keep the models here, or use those there")
    parser.add_argument("--only-models", action="store_true", help="make the models and end")
    parser.add_argument("--image", type=Path, help="keep the image as this file")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        found = measure(Path(name), args)
    giga = found["model_bytes"] / 1e9
    print(f"base and {len(MODELS)} models of {giga:.2f} GB, {os.cpu_count()} cores")
    print("| step | seconds | of which merging | MiB before | peak MiB |")
    print("|---|---:|---:|---:|---:|")
    for step, result in found["steps"].items():
        merging = result.get("merge_seconds", {"": result["seconds"]})
        words = ", ".join(f"{name} {s:.1f}".strip() for name, s in merging.items())
        before = f"{result['before_mib']:.0f}" if "before_mib" in result else ""
        print(
            f"| {step} | {result['seconds']:.1f} | {words} | {before} | {result['peak_mib']:.0f} |"
        )
    guess, save = found["estimate"], found["steps"]["save node"]
    print(
        f"estimated: {guess['seconds']} s, {guess['ram_mib']} MiB beside the process, "
        f"{guess['output_mib']} MiB of output; measured: {save['merge_seconds']['file']} s, "
        f"{save['peak_mib'] - save['before_mib']:.0f} MiB, {found['file_bytes'] / 2**20:.1f} MiB"
    )
    print(f"every file verified as {found['content_hash']}; image of {found['image_bytes']} bytes")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
