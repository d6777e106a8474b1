"""How each merged tensor is stored: its dtype, the one cast at the end, and scaled fp8."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..io.dtypes import torch_dtype
from ..io.source import Entry
from ..keys.architecture import Architecture

__all__ = [
    "FP8_MAX",
    "Stored",
    "cast",
    "fp8_metadata",
    "fp8_scale",
    "scale_key",
    "stored_as",
]

FP8_MAX = 448.0
"""Largest finite float8_e4m3fn."""

_NAMES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
_LIMITS = {"F16": 65504.0, "F8_E4M3": FP8_MAX, "F8_E5M2": 57344.0}
_KEPT_LAYERS = ("embedding", "norm")
# Modules that look like linear layers by shape but are look-up tables.
_TABLES = re.compile(r"(^|[._])(tok|token|embed|emb|embeddings?|embed_tokens)\.weight$")


@dataclass(frozen=True)
class Stored:
    """The stored form of one tensor: safetensors dtype name, and whether it has an fp8 scale."""

    dtype: str
    scaled: bool = False


def stored_as(
    key: str, shape: tuple[int, ...], entry: Entry, output: str, architecture: Architecture
) -> Stored:
    """The stored form of a float tensor under an output dtype of the recipe.

    `base` keeps the base's dtype; a quantised layer becomes BF16, since its scales do not fit the
    merged weights. `fp8_e4m3fn` scales 2-D weights whose sides are multiples of 16, except
    embeddings and norms; everything else becomes BF16.
    """
    if output == "base":
        return Stored("BF16" if entry.quant else entry.dtype)
    if output != "fp8_e4m3fn":
        return Stored(_NAMES[output])
    linear = key.endswith(".weight") and len(shape) == 2 and not _TABLES.search(key)
    even = linear and all(side and side % 16 == 0 for side in shape)
    if even and architecture.layer_type(key) not in _KEPT_LAYERS:
        return Stored("F8_E4M3", scaled=True)
    return Stored("BF16")


def cast(values: Tensor, dtype: str) -> Tensor:
    """Float32 to the stored dtype, rounded once to nearest even.

    Finite values beyond the range of fp16 and fp8 become its largest finite value.
    """
    if dtype == "F32":
        return values
    limit = _LIMITS.get(dtype)
    if limit is not None:
        values = values.clamp(-limit, limit)
    return values.to(torch_dtype(dtype))


def fp8_scale(values: Tensor) -> float:
    """max |W| / 448 as float32: the largest weight uses the whole range; 1 for a zero tensor.

    Weights that are not finite (a damaged base's) do not count.
    """
    top = float(values.abs().max()) if values.numel() else 0.0
    if not math.isfinite(top):
        top = float(values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max())
    scale = float(torch.tensor(top / FP8_MAX, dtype=torch.float32))
    return scale if scale > 0.0 else 1.0


def scale_key(key: str) -> str:
    """`<layer>.weight` → `<layer>.weight_scale`."""
    return key + "_scale"


def fp8_metadata(stored: Mapping[str, Stored]) -> dict[str, str]:
    """`_quantization_metadata` of the header: which layers are scaled fp8; empty if none is.

    ComfyUI reads it from 0.3.68 on. Unlike the older `scaled_fp8` marker it names its layers, so
    that biases and every other layer keep their precision.
    """
    layers = _layers(key for key, form in stored.items() if form.scaled)
    if not layers:
        return {}
    body = {"format_version": "1.0", "layers": {n: {"format": "float8_e4m3fn"} for n in layers}}
    return {"_quantization_metadata": json.dumps(body, sort_keys=True)}


def _layers(keys: Iterable[str]) -> list[str]:
    return sorted(key.removesuffix(".weight") for key in keys)
