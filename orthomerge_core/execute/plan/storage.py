"""How each merged tensor is stored: its dtype, and which layers are quantized."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...io.quant.encoder import Encoder
from ...io.quant.encoders import encoder_named
from ...io.source import Entry
from ...keys.architecture import Architecture
from ...keys.components import DIFFUSION, component_of
from .gguf_file import plain_dtype

__all__ = ["Stored", "fp8_metadata", "is_plain_fp8", "stored_as"]

_NAMES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
_KEPT_LAYERS = ("embedding", "norm")
_NUMBER = re.compile(r"\d")
# Modules that look like linear layers by shape but are look-up tables.
_TABLES = re.compile(r"(^|[._])(tok|token|embed|emb|embeddings?|embed_tokens)\.weight$")


@dataclass(frozen=True)
class Stored:
    """The stored form of one tensor: the safetensors dtype name of its numbers, and the output
    dtype that quantizes it, "" for a plain tensor."""

    dtype: str
    scheme: str = ""

    @property
    def encoder(self) -> Encoder | None:
        """What quantizes the tensor; None for a plain one."""
        return encoder_named(self.scheme) if self.scheme else None

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the stored numbers of a tensor of that shape."""
        encoder = self.encoder
        return shape if encoder is None else encoder.stored_shape(shape)

    def announced(
        self, name: str, shape: tuple[int, ...]
    ) -> Mapping[str, tuple[str, tuple[int, ...]]]:
        """Name → dtype and shape of all that is stored for a tensor of that name and shape."""
        encoder = self.encoder
        if encoder is None:
            return {name: (self.dtype, shape)}
        return encoder.announced(name, shape)


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
    A dtype that quantizes does so to the matrices of layers whose sides its format allows, except
    embeddings and norms, and, but for `fp8_e4m3fn`, modulation and what lies outside the numbered
    blocks; everything else of the diffusion model becomes BF16, and text encoders and VAE keep
    the base's dtype.
    """
    if output == "base":
        wider = entry.quant or (changes and is_plain_fp8(entry))
        return Stored("BF16" if wider else entry.dtype)
    encoder = encoder_named(output)
    if encoder is None:
        return Stored(_NAMES[output])
    if component_of(key) != DIFFUSION:
        return stored_as(key, shape, entry, "base", architecture, changes=changes)
    linear = key.endswith(".weight") and len(shape) == 2 and not _TABLES.search(key)
    if linear and encoder.fits(shape) and not _is_kept(key, encoder, architecture):
        return Stored(encoder.dtype, output)
    return Stored(plain_dtype(key, shape) if encoder.in_gguf else "BF16")


def _is_kept(key: str, encoder: Encoder, architecture: Architecture) -> bool:
    """Whether a layer stays in 16 bits: few weights, and the result depends on each of them."""
    kind = architecture.layer_type(key)
    if kind in _KEPT_LAYERS:
        return True
    outside = not _NUMBER.search(architecture.block(key))
    return encoder.keeps_modulation and (kind == "modulation" or outside)


def fp8_metadata(stored: Mapping[str, Stored]) -> dict[str, str]:
    """`_quantization_metadata` of the header: which layers are scaled fp8; empty if none is.

    ComfyUI reads it from 0.3.68 on. Unlike the older `scaled_fp8` marker it names its layers, so
    that biases and every other layer keep their precision.
    """
    layers = _layers(
        key
        for key, form in stored.items()
        if form.encoder is not None and not (form.encoder.marks_layers or form.encoder.in_gguf)
    )
    if not layers:
        return {}
    body = {"format_version": "1.0", "layers": {n: {"format": "float8_e4m3fn"} for n in layers}}
    return {"_quantization_metadata": json.dumps(body, sort_keys=True)}


def _layers(keys: Iterable[str]) -> list[str]:
    return sorted(key.removesuffix(".weight") for key in keys)
