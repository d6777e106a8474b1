"""Reads every tensor of a synthetic MODEL through `LiveSource`; prints how far the peak grew.

    python tests/nodes/live_memory.py <ComfyUI> <layers> <MiB per layer in bf16>

Prints MiB of growth, and whether the MODEL's bytes are what they were.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from pathlib import Path

import torch
import xxhash

ROOT = Path(__file__).parents[2]


def peak_mib() -> float:
    """The most memory that this process ever held, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def digest(model: torch.nn.Module) -> str:
    """A hash of all weights, without copying them."""
    hasher = xxhash.xxh3_128()
    for tensor in model.state_dict().values():
        hasher.update(tensor.view(torch.uint8).numpy())
    return hasher.hexdigest()


def main() -> None:
    """See the module."""
    host, layers, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.path.insert(0, host)
    sys.argv[1:] = []
    logging.disable(logging.CRITICAL)
    from comfy.cli_args import args

    args.cpu = True
    spec = importlib.util.spec_from_file_location(
        "pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)
    live = importlib.import_module("pack.nodes.live")
    from comfy.model_patcher import ModelPatcher

    side = int((size * 2**20 / 2) ** 0.5)
    inner = torch.nn.Module()
    inner.diffusion_model = torch.nn.Module()
    for i in range(layers):
        layer = torch.nn.Linear(side, side, bias=False, dtype=torch.bfloat16)
        inner.diffusion_model.add_module(f"layer{i}", layer)
    inner.requires_grad_(False)
    model = ModelPatcher(inner, torch.device("cpu"), torch.device("cpu"))
    clone = model.clone()
    adapter = importlib.import_module("comfy.weight_adapter.lora").LoRAAdapter
    for i in range(layers):
        parts = (torch.randn(side, 4), torch.randn(4, side), 4.0, None, None, None)
        clone.add_patches({f"diffusion_model.layer{i}.weight": adapter(set(), parts)}, 0.5)
    before = digest(inner)
    source = live.LiveSource(clone, "x")
    chunk = torch.empty(1 << 20)
    source.read_into("layer0.weight", chunk)  # what torch sets up once is not the model's
    source.close()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start = peak_mib()
    for key, entry in source.entries.items():
        for low in range(0, entry.numel, len(chunk)):
            source.read_into(key, chunk[: min(len(chunk), entry.numel - low)], low)
    sys.stdout.write(f"{peak_mib() - start:.0f} {digest(inner) == before}\n")


main()
