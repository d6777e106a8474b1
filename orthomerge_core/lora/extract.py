"""LoRA extraction: the change from one model to another as a LoRA file.

Per layer δ = W − P [rows, cols], flattened by its first axis, is approximated by up · down with
up = U √σ [rows, rank] and down = √σ Vᵀ [rank, cols] (Eckart, Young 1936). Convolutions keep their
kernel in down. Vectors, and matrices whose factors would be larger than themselves, are stored
whole (`diff`, `diff_b`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..errors import PlanError, UnsupportedError
from ..io.dtypes import dtype_of
from ..io.spool import Spool
from ..io.writer import SafetensorsWriter, refuse_existing
from ..keys.aligned import AlignedModel, AlignedSet
from ..linalg.low_rank import RankRule, leading_singular
from ..methods.seeds import key_generator
from ..progress import Progress
from .naming import layer_of

__all__ = ["LORA_DTYPES", "LayerReport", "LoraReport", "extract_lora"]

LORA_DTYPES: Mapping[str, torch.dtype] = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
}


@dataclass(frozen=True)
class LayerReport:
    """One changed tensor. `rank` 0 means that it is stored whole.

    `energy`: ‖δ‖². `kept`: the fraction 1 − ‖δ − stored‖² / ‖δ‖², measured after rounding.
    """

    key: str
    rank: int
    energy: float
    kept: float


@dataclass(frozen=True)
class LoraReport:
    """Result of an extraction.

    `layers`: the changed tensors. `left_out`: reason → how many changed tensors a LoRA cannot hold.
    """

    layers: tuple[LayerReport, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    n_bytes: int = 0

    @property
    def kept(self) -> float:
        """Fraction of the whole change's energy that the file holds; what is left out is lost."""
        whole = math.fsum(layer.energy for layer in self.layers)
        return math.fsum(x.energy * x.kept for x in self.layers) / whole if whole else 1.0

    def largest_losses(self, count: int = 5) -> list[LayerReport]:
        """The layers that lose most of the whole change, the worst first."""
        lost = [layer for layer in self.layers if layer.kept < 1.0 - 1e-5]
        return sorted(lost, key=lambda x: -x.energy * (1.0 - x.kept))[:count]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return {
            "kept": self.kept,
            "bytes": self.n_bytes,
            "left_out": dict(self.left_out),
            "layers": [dict(vars(layer)) for layer in self.layers],
        }


def extract_lora(
    aligned: AlignedSet,
    model: str,
    path: Path,
    rule: RankRule,
    *,
    parent: str = "base",
    dtype: str = "fp16",
    naming: str = "kohya",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LoraReport:
    """Write the change from `parent` to `model` as a LoRA; the file is complete or absent.

    Same files and options give the same bytes. Memory: one tensor and its factors; finished layers
    wait on disk, in a nameless file beside the result. Cost: one reading of both models, and a
    singular value decomposition per matrix.

    Args:
        aligned: the set that both are in.
        parent: "base" or another model of the set.

    Raises:
        PlanError: the models are the same, or have no tensor in common.
        UnsupportedError: a change is not finite.
        WriteError: the file exists, or cannot be written.
    """
    refuse_existing(path, overwrite)
    progress = progress or Progress()
    to, origin = aligned.model(model), aligned.model(parent)
    keys = [key for key in aligned.keys if to.has(key) and origin.has(key)]
    progress.start(float(sum(aligned.numel(key) for key in keys)), "Extracting a LoRA")
    layers: list[LayerReport] = []
    left_out: dict[str, int] = {}
    with Spool(path) as stored:
        for key in keys:
            progress.check()
            delta = _change(to, origin, key, aligned.shapes[key])
            if bool(delta.count_nonzero()):
                _add(key, delta, (rule, naming, LORA_DTYPES[dtype]), stored, layers, left_out)
            progress.advance(float(delta.numel()))
        if not len(stored):
            what = f'"{model}" does not differ from "{parent}" in anything that a LoRA can hold'
            raise PlanError([UnsupportedError(what, fix="Choose another model.")])
        layout = {
            name: (dtype_of(dtype), shape) for name, (dtype, shape) in stored.shapes().items()
        }
        metadata = _metadata(aligned, to, origin, rule, layers)
        with SafetensorsWriter(path, layout, metadata, overwrite=overwrite) as writer:
            for name, tensor in stored.items():
                progress.check()
                writer.write(name, tensor)
            writer.finish()
    return LoraReport(tuple(layers), left_out, writer.n_bytes)


def _change(to: AlignedModel, origin: AlignedModel, key: str, shape: tuple[int, ...]) -> Tensor:
    """δ in float32, of the base's shape."""
    delta, other = torch.empty(math.prod(shape)), torch.empty(math.prod(shape))
    to.read_into(key, delta)
    origin.read_into(key, other)
    delta.sub_(other)
    if not bool(torch.isfinite(delta).all()):
        what = f'the change of "{key}" is not finite'
        raise UnsupportedError(what, fix="Mend the file that holds NaN or infinity first.")
    return delta.reshape(shape)


def _add(
    key: str,
    delta: Tensor,
    how: tuple[RankRule, str, torch.dtype],
    stored: Spool,
    layers: list[LayerReport],
    left_out: dict[str, int],
) -> None:
    rule, naming, dtype = how
    place = layer_of(key, naming)
    if place is None or delta.dim() == 0:
        reason = "scalars" if delta.dim() == 0 else "components without a LoRA naming"
        left_out[reason] = left_out.get(reason, 0) + 1
        return
    name, part = place
    rank, approximation = 0, delta
    if part == "weight" and delta.dim() >= 2:
        up, down = _factors(key, delta, rule, dtype)
        rank = down.shape[0]
        if up.numel() + down.numel() < delta.numel():
            stored[f"{name}.lora_up.weight"], stored[f"{name}.lora_down.weight"] = up, down
            stored[f"{name}.alpha"] = torch.tensor(float(rank))
            product = up.float().flatten(1) @ down.float().flatten(1)
            approximation = product.reshape(delta.shape)
        else:
            rank = 0
    if rank == 0:
        whole = delta.to(dtype)
        stored[f"{name}.diff_b" if part == "bias" else f"{name}.diff"] = whole
        approximation = whole.float()
    energy = float(delta.double().square().sum())
    error = float((delta - approximation).double().square().sum())
    layers.append(LayerReport(key, rank, energy, 1.0 - error / energy))


def _factors(key: str, delta: Tensor, rule: RankRule, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """up [rows, rank, 1 …] and down [rank, cols …], each as large as the other."""
    u, sigma, v_t = leading_singular(delta.flatten(1), rule, key_generator(key, 0).initial_seed())
    root = sigma.sqrt()
    ones = (1,) * (delta.dim() - 2)
    up = (u * root).reshape(delta.shape[0], len(sigma), *ones)
    down = (root[:, None] * v_t).reshape(len(sigma), *delta.shape[1:])
    return up.to(dtype).contiguous(), down.to(dtype).contiguous()


def _metadata(
    aligned: AlignedSet,
    to: AlignedModel,
    origin: AlignedModel,
    rule: RankRule,
    layers: list[LayerReport],
) -> dict[str, str]:
    rank = max((layer.rank for layer in layers), default=0)
    return {
        "format": "pt",
        "orthomerge.version": __version__,
        "orthomerge.lora": f"{to.source.name} - {origin.source.name}, {_told(rule)}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{aligned.architecture.modelspec_of(aligned.shapes)}/lora",
        "modelspec.title": f"{to.name} - {origin.name}",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
    }


def _told(rule: RankRule) -> str:
    if rule.kind == "fixed":
        return f"rank {rule.value:g}"
    value = f" {rule.value:g}" if rule.kind != "knee" else ""
    return f"{rule.kind}{value}, rank {rule.limit} at most"
