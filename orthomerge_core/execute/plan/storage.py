"""How each merged tensor is stored: its dtype, and which layers get an fp8 scale."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...io.source import Entry
from ...keys.architecture import Architecture
from ...keys.components import DIFFUSION, component_of

__all__ = ["Stored", "fp8_metadata", "is_plain_fp8", "scale_key", "stored_as"]

_NAMES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
_KEPT_LAYERS = ("embedding", "norm")
# Modules that look like linear layers by shape but are look-up tables.
_TABLES = re.compile(r"(^|[._])(tok|token|embed|emb|embeddings?|embed_tokens)\.weight$")


@dataclass(frozen=True)
class Stored:
    """The stored form of one tensor: safetensors dtype name, and whether it has an fp8 scale."""

    dtype: str
    scaled: bool = False


def is_plain_fp8(entry: Entry) -> bool:
    """Whether a weight is stored as fp8 without a scale, whose steps swallow small changes."""
    return not entry.quant and entry.dtype in ("F8_E4M3", "F8_E5M2")


def stored_as(
    key: str,
    shape: tuple[int, ...],
    entry: Entry,
    output: str,
    architecture: Architecture,
    *,
    changes: bool = True,
) -> Stored:
    """The stored form of a float tensor under an output dtype of the recipe.

    `base` keeps the base's dtype; a quantized layer becomes BF16, since its scales do not fit the
    merged weights, and so does fp8 without scales if the merge `changes` anything: its steps are
    larger than most changes, and ComfyUI loads a file in the one dtype that most of it has.
    `fp8_e4m3fn` scales 2-D weights whose sides are multiples of 16, except embeddings and norms;
    everything else of the diffusion model becomes BF16, and text encoders and VAE keep the base's
    dtype.
    """
    if output == "base":
        wider = entry.quant or (changes and is_plain_fp8(entry))
        return Stored("BF16" if wider else entry.dtype)
    if output == "fp8_e4m3fn" and component_of(key) != DIFFUSION:
        return stored_as(key, shape, entry, "base", architecture, changes=changes)
    if output != "fp8_e4m3fn":
        return Stored(_NAMES[output])
    linear = key.endswith(".weight") and len(shape) == 2 and not _TABLES.search(key)
    even = linear and all(side and side % 16 == 0 for side in shape)
    if even and architecture.layer_type(key) not in _KEPT_LAYERS:
        return Stored("F8_E4M3", scaled=True)
    return Stored("BF16")


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
