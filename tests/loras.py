"""LoRA files for tests, in the namings of kohya, diffusers and LyCORIS, and what they change."""

from __future__ import annotations

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


def _matrix(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator) * 0.3


def lora(
    shape: tuple[int, ...], seed: int = 0, rank: int = 2, alpha: float | None = 3.0
) -> Tensors:
    """Factors of a plain LoRA of a weight, without their names' beginning."""
    g = torch.Generator().manual_seed(seed)
    found = {
        "lora_up.weight": _matrix(g, shape[0], rank, *[1] * (len(shape) - 2)),
        "lora_down.weight": _matrix(g, rank, *shape[1:]),
    }
    return found | ({} if alpha is None else {"alpha": torch.tensor(alpha)})


def tucker(shape: tuple[int, ...], seed: int = 0, rank: int = 2) -> Tensors:
    """A convolution's LoRA with a core."""
    g = torch.Generator().manual_seed(seed)
    return {
        "lora_up.weight": _matrix(g, shape[0], rank, 1, 1),
        "lora_down.weight": _matrix(g, rank, shape[1], 1, 1),
        "lora_mid.weight": _matrix(g, rank, rank, *shape[2:]),
        "alpha": torch.tensor(1.0),
    }


def loha(shape: tuple[int, ...], seed: int = 0, rank: int = 2) -> Tensors:
    """Factors of a LoHa."""
    g = torch.Generator().manual_seed(seed)
    cols = 1
    for size in shape[1:]:
        cols *= size
    found = {}
    for side in ("w1", "w2"):
        found[f"hada_{side}_a"] = _matrix(g, shape[0], rank)
        found[f"hada_{side}_b"] = _matrix(g, rank, cols)
    return found | {"alpha": torch.tensor(1.0)}


def lokr(shape: tuple[int, ...], seed: int = 0) -> Tensors:
    """Factors of a LoKr whose second side is a product; even sizes."""
    g = torch.Generator().manual_seed(seed)
    rows, cols = shape[0] // 2, shape[1] // 2
    if len(shape) == 4:
        second = {"lokr_w2": _matrix(g, rows, cols, *shape[2:])}
    else:
        second = {"lokr_w2_a": _matrix(g, rows, 2), "lokr_w2_b": _matrix(g, 2, cols)}
    return {"lokr_w1": _matrix(g, 2, 2), **second, "alpha": torch.tensor(1.0)}


def named(name: str, factors: Tensors) -> Tensors:
    """The factors under a module's name."""
    return {f"{name}.{part}": tensor for part, tensor in factors.items()}


def peft(name: str, factors: Tensors) -> Tensors:
    """A plain LoRA in the names of diffusers and PEFT, which have no alpha."""
    return {
        f"{name}.lora_A.weight": factors["lora_down.weight"],
        f"{name}.lora_B.weight": factors["lora_up.weight"],
    }


def change(factors: Tensors, shape: tuple[int, ...]) -> Tensor:
    """δ of a plain LoRA in float64, from its definition."""
    up, down = factors["lora_up.weight"].double(), factors["lora_down.weight"].double()
    rank = down.shape[0]
    scale = float(factors["alpha"]) / rank if "alpha" in factors else 1.0
    return (up.reshape(up.shape[0], rank) @ down.reshape(rank, -1) * scale).reshape(shape)
