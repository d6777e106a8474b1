"""Finds the quantized layers of a file, their schemes, and stored tensors that are not weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import HeaderError, UnsupportedError
from ..bytesource import ByteSource
from ..header import TensorInfo, is_name
from .contract import LayerSpec, QuantLayer
from .registry import make_layer

__all__ = ["ACTIVATION_SCALES", "SIDES", "Detected", "detect"]

_MARKER = ".comfy_quant"
_MAX_MARKER_BYTES = 1 << 16
_SCALES = (
    "weight_scale",
    "weight_scale_2",
    "scale_weight",
    "pre_quant_scale",
    "weight_s_rel",
    "weight_s_channel",
    "weight_codebook",
    "weight_correction",
    "weight_zeros",
)
ACTIVATION_SCALES = ("input_scale", "scale_input", "input_amax", "output_scale", "scale_output")
_MARKERS = ("scaled_fp8", "comfy_quant")
SIDES = (*_SCALES, *_MARKERS)
"""Last parts of names that are never weights; `ACTIVATION_SCALES` beside a quantized one."""
_FP8_FORMATS = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_FLOATS = ("F16", "BF16", "F32")
_PACKED = ("F8_E4M3", "F8_E5M2", "I8", "U8")
_SCALE_LIKE = re.compile(
    r"scale|zero|absmax"
)  # beside packed numbers such a name is never a weight
_AGAIN = "The file is incomplete or was converted wrongly: download or convert it again."


@dataclass(frozen=True)
class Detected:
    """`layers`: weight key → layer. `dropped`: key of what is no weight → what it is."""

    layers: Mapping[str, QuantLayer] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)


def detect(source: ByteSource) -> Detected:
    """Find every quantized layer; reads nothing but the markers.

    Looks, per layer and in this order, at `comfy_quant`, `_quantization_metadata`, a scale beside
    an fp8 weight (`scale_weight`, `weight_scale`). Plain fp8 without scales is no quantization but
    a dtype.

    Raises:
        UnsupportedError: an unknown format, or one of other programs (bitsandbytes, nunchaku,
        GPTQ).
        HeaderError: a marker that cannot be read, or whose weight or scales are missing.
    """
    _refuse_foreign(source)
    found = _from_metadata(source)
    found.update(_from_markers(source))
    for layer, fmt in _from_scales(source.infos).items():
        found.setdefault(layer, {"format": fmt})
    layers: dict[str, QuantLayer] = {}
    for layer, options in found.items():
        layers[f"{layer}.weight"] = make_layer(_spec(source, layer, options))
    _refuse_orphans(source, layers)
    return Detected(layers, _sidecars(source.infos, layers))


_FOREIGN = (
    (".quant_state.bitsandbytes__", "bitsandbytes"),
    (".weight.absmax", "bitsandbytes"),
    (".weight.quant_map", "bitsandbytes"),
    (".SCB", "bitsandbytes (LLM.int8)"),
    (".weight._data", "optimum-quanto"),
    (".W_q", "HQQ"),
    (".wscales", "nunchaku (SVDQuant)"),
    (".proj_down", "nunchaku (SVDQuant)"),
    (".qzeros", "GPTQ or AWQ"),
    (".g_idx", "GPTQ"),
    (".qweight", "GPTQ, AWQ or nunchaku"),
)


def _refuse_foreign(source: ByteSource) -> None:
    for mark, program in _FOREIGN:
        infos = source.infos
        key = next((k for k in infos if k.endswith(mark) or (mark[-1] == "_" and mark in k)), None)
        if key is not None:
            raise UnsupportedError(
                f'"{source.name}" is quantized by {program}, which is not read here: "{key}"',
                fix="Use the BF16, FP8 or GGUF version of this model.",
            )


def _split(key: str) -> tuple[str, str]:
    layer, _, suffix = key.rpartition(".")
    return layer, suffix


def _sidecars(infos: Mapping[str, TensorInfo], layers: Mapping[str, QuantLayer]) -> dict[str, str]:
    dropped = {}
    for key in infos:
        layer, suffix = _split(key)
        if suffix in _SCALES:
            dropped[key] = f'scale of "{layer}.weight"'
        elif suffix in ACTIVATION_SCALES and f"{layer}.weight" in layers:
            dropped[key] = "scale of activations, of no use in a merge"
        elif suffix in _MARKERS:
            dropped[key] = "marker of quantization"
    return dropped


def _from_markers(source: ByteSource) -> dict[str, dict[str, Any]]:
    found = {}
    for key, info in source.infos.items():
        if not key.endswith(_MARKER):
            continue
        if info.dtype not in ("U8", "I8") or info.n_bytes > _MAX_MARKER_BYTES:
            what = f'the quantization marker "{key}" in "{source.name}" is not text'
            raise HeaderError(
                what, kind="quantization", expected="U8", received=info.dtype, fix=_AGAIN
            )
        text = bytearray(info.n_bytes)
        source.read_bytes(key, memoryview(text))
        layer = _full_name(source.infos, key.removesuffix(_MARKER))
        found[layer] = _options(source.name, key, bytes(text))
    return found


def _from_metadata(source: ByteSource) -> dict[str, dict[str, Any]]:
    text = source.metadata.get("_quantization_metadata")
    if text is None:
        return {}
    where = "_quantization_metadata"
    tree = _json(source.name, where, text.encode())
    layers = tree.get("layers")
    if not isinstance(layers, dict):
        what = f'"{where}" in "{source.name}" lists no layers'
        raise HeaderError(what, kind="quantization", expected='{"layers": {…}}', fix=_AGAIN)
    return {
        _full_name(source.infos, layer): _checked(source.name, where, options)
        for layer, options in layers.items()
    }


def _full_name(infos: Mapping[str, TensorInfo], layer: str) -> str:
    if f"{layer}.weight" in infos:
        return layer
    ends = [key for key in infos if key.endswith(f".{layer}.weight")]
    return ends[0].removesuffix(".weight") if len(ends) == 1 else layer


def _options(file: str, where: str, raw: bytes) -> dict[str, Any]:
    return _checked(file, where, _json(file, where, raw))


def _json(file: str, where: str, raw: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(raw.rstrip(b"\0").decode("utf-8"))
        json.dumps(tree, ensure_ascii=False).encode()  # it may be shown: no lone surrogates
    except (ValueError, RecursionError):
        tree = None
    if isinstance(tree, dict):
        return tree
    raise HeaderError(
        f'"{where}" in "{file}" is not a JSON object', kind="quantization", fix=_AGAIN
    )


def _checked(file: str, where: str, options: Any) -> dict[str, Any]:
    options = {"format": options} if isinstance(options, str) else options
    if isinstance(options, dict) and is_name(options.get("format")):
        return options
    what = f'"{where}" in "{file}" names no quantization format'
    raise HeaderError(what, kind="quantization", expected='{"format": "…"}', fix=_AGAIN)


def _from_scales(infos: Mapping[str, TensorInfo]) -> dict[str, str]:
    found = {}
    for key in infos:
        layer, suffix = _split(key)
        weight = infos.get(f"{layer}.weight")
        if suffix not in ("scale_weight", "weight_scale") or weight is None:
            continue
        # the older name also stands beside layers that were left in 16 or 32 bits
        if weight.dtype in _FP8_FORMATS or (suffix == "scale_weight" and weight.dtype in _FLOATS):
            found[layer] = _FP8_FORMATS.get(weight.dtype, "float8_e4m3fn")
    return found


def _spec(source: ByteSource, layer: str, options: dict[str, Any]) -> LayerSpec:
    weight = source.infos.get(f"{layer}.weight")
    if weight is None:
        what = f'"{source.name}" marks layer "{layer}" as quantized but has no weight for it'
        raise HeaderError(what, kind="quantization", expected=f'"{layer}.weight"', fix=_AGAIN)
    sides = {
        suffix: source.infos[f"{layer}.{suffix}"]
        for suffix in _SCALES
        if f"{layer}.{suffix}" in source.infos
    }
    rest = {name: value for name, value in options.items() if name != "format"}
    return LayerSpec(source.name, layer, options["format"], weight, sides, rest)


def _refuse_orphans(source: ByteSource, layers: Mapping[str, QuantLayer]) -> None:
    for key, info in source.infos.items():
        packs = info.dtype in ("I8", "U8") and len(info.shape) > 1 and key.endswith(".weight")
        if packs and key not in layers:
            what = f'"{source.name}" holds "{key}" as 8-bit integers without a scale'
            raise UnsupportedError(
                what,
                expected=f'a marker "{key.removesuffix(".weight")}.comfy_quant" and its scales',
                fix="Its values cannot be known: use the BF16 or FP8 version of this model.",
            )
        layer, suffix = _split(key)
        weight = f"{layer}.weight"
        stored = source.infos.get(weight)
        packed = stored is not None and stored.dtype in _PACKED
        unknown = suffix in _SCALES or (packed and _SCALE_LIKE.search(suffix))
        if unknown and weight not in layers:
            raise UnsupportedError(
                f'"{source.name}" has "{key}" but nothing says how "{weight}" is quantized',
                expected=f'a marker "{layer}.comfy_quant"',
                fix="Use the BF16 or FP8 version of this model.",
            )
