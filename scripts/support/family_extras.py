"""What the example workflows need beside the family: a LoRA, checkpoints, more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import family
from .checkpoints import make_checkpoints

__all__ = ["LORA_FILE", "MERGED_FILE", "QUANTISED", "low_rank", "make_extras", "scaled_fp8"]

LORA_FILE = "orthomerge_demo_lora.safetensors"
MERGED_FILE = "orthomerge_demo_merged/ink-and-paint.safetensors"
QUANTISED = (
    "orthomerge_demo_quantised/paint-scaled-fp8.safetensors",
    "orthomerge_demo_quantised/photo-plain-fp8.safetensors",
)
LORA_RANK = 32
FP8_MAX = 448.0


def make_extras(models_dir: Path) -> None:
    """Write what is missing, or older than the family. Same bytes on every run."""
    weights = models_dir / "diffusion_models"
    folder = weights / family.FOLDER
    scaled, plain = (weights / name for name in QUANTISED)
    _fresh(models_dir / "loras" / LORA_FILE, folder, _write_lora)
    _fresh(weights / MERGED_FILE, folder, _write_merged)
    _fresh(scaled, folder, _write_scaled)
    _fresh(plain, folder, _write_plain)
    make_checkpoints(models_dir)


def low_rank(
    base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], rank: int
) -> dict[str, Tensor]:
    """A LoRA under ComfyUI's names: up [rows, rank] · down [rank, cols] is nearest tuned − base."""
    lora: dict[str, Tensor] = {}
    for key, weight in base.items():
        if weight.dim() != 2:
            continue
        u, s, v = torch.linalg.svd(tuned[key].float() - weight.float(), full_matrices=False)
        name, root = "diffusion_model." + key.removesuffix(".weight"), s[:rank].sqrt()
        lora[f"{name}.lora_up.weight"] = u[:, :rank] * root
        lora[f"{name}.lora_down.weight"] = root[:, None] * v[:rank]
        lora[f"{name}.alpha"] = torch.tensor(float(min(rank, len(s))))
    return lora


def scaled_fp8(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every matrix as fp8 numbers and one scale, as ComfyUI's older scaled checkpoints have it."""
    out: dict[str, Tensor] = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for key, weight in weights.items():
        out[key] = weight
        if weight.dim() == 2 and key.endswith(".weight"):
            scale = weight.float().abs().max() / FP8_MAX
            out[key] = (weight.float() / scale).to(torch.float8_e4m3fn)
            out[key.removesuffix("weight") + "scale_weight"] = scale
    return out


def _fresh(path: Path, folder: Path, write: Callable[[Path, Path], None]) -> None:
    """Call `write(path, folder)` unless the file is there and newer than the family."""
    newest = max(file.stat().st_mtime_ns for file in folder.glob("*.safetensors"))
    if not path.exists() or path.stat().st_mtime_ns < newest:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, folder)


def _write_lora(path: Path, folder: Path) -> None:
    """Of the fine-tune that learned a new shape."""
    base, tuned = (load_file(folder / f"{name}.safetensors") for name in ("base", "star"))
    family.save(low_rank(base, tuned, LORA_RANK), path, torch.float16)


def _write_scaled(path: Path, folder: Path) -> None:
    family.save_tensors(scaled_fp8(load_file(folder / "paint.safetensors")), path)


def _write_plain(path: Path, folder: Path) -> None:
    family.save(load_file(folder / "photo.safetensors"), path, torch.float8_e4m3fn)


def _write_merged(path: Path, folder: Path) -> None:
    """Half of two fine-tunes; its header tells how it was made."""
    from orthomerge_core.execute.plan.planner import plan_merge
    from orthomerge_core.execute.plan.resolve import spec_from_recipe
    from orthomerge_core.execute.run import run_merge
    from orthomerge_core.recipe.model import ModelRef, Recipe, Row

    files = {name: f"{family.FOLDER}/{name}.safetensors" for name in ("base", "ink", "paint")}
    base = files.pop("base")
    models = {name: ModelRef(file) for name, file in files.items()}
    rows = tuple(Row(name, alpha=0.5) for name in files)
    recipe = Recipe(base, models, rows, method="task_arithmetic")
    spec = spec_from_recipe(recipe, lambda file: folder.parent / file)
    with plan_merge(recipe, spec, target=path, overwrite=True) as plan:
        run_merge(plan)
