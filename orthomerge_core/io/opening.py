"""Opens a path as a source; the only place that decides what kind of file it is."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import FileError, UnsupportedError, is_showable, quoted
from .bytesource import ByteSource
from .gguf import GgufSource
from .paths import is_file, is_folder
from .quant.detect import Detected, detect
from .quant.source import QuantizedSource
from .reader import SafetensorsSource
from .sharded import SHARD, ShardedSource
from .source import Source

__all__ = ["is_readable_name", "open_source"]

_SAFETENSORS = (".safetensors", ".sft")
_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
_INDEX = ".safetensors.index.json"
_INDEX_NAME = re.compile(r"\.safetensors\.index(\.[a-z0-9_-]+)?\.json$")  # also index.fp16.json


def is_readable_name(name: str) -> bool:
    """Whether such a file is a model: safetensors or GGUF, or the first of several shards."""
    shard = SHARD.match(name)
    return name.lower().endswith((*_SAFETENSORS, ".gguf")) and not (
        shard and int(shard["part"]) > 1
    )


def open_source(path: Path, *, name: str | None = None, dequantize: bool = True) -> Source:
    """Open a model file for reading.

    Args:
        path: a `.safetensors` or `.sft` file (of a sharded model: its index or any shard), or a
            `.gguf` file.
        name: what messages call it; the file's name by default.
        dequantize: read quantized layers as the float32 weights they stand for. Without it they are
            left out and listed in `dropped`, since their stored integers are not weights.

    Raises:
        FileError: it does not exist or cannot be opened.
        HeaderError: its header is broken or contradicts the file.
        UnsupportedError: a pickle, an unknown format or an unknown quantization.
    """
    path, shown = Path(path), name or Path(path).name
    if not is_showable(shown):
        what = f'"{quoted(shown)}" is not a usable file name'
        raise FileError(what, received="not UTF-8, or control characters", fix="Rename the file.")
    lower = path.name.lower()
    if lower.endswith(_PICKLES):
        raise UnsupportedError(
            f'"{shown}" is a pickle checkpoint, which can run code when it is opened',
            fix="Convert it to safetensors first, for example with ComfyUI's ModelSave.",
        )
    if is_folder(path):
        raise FileError(f'"{shown}" is a folder', fix="Choose a model file in it.")
    if lower.endswith(".gguf"):
        gguf = GgufSource(path, name)
        return _layered(gguf, gguf.found, dequantize)
    return _dequantized(_stored(path, shown), dequantize)


def _stored(path: Path, shown: str) -> ByteSource:
    lower = path.name.lower()
    if _INDEX_NAME.search(lower) or (SHARD.match(path.name) and is_file(path)):
        return ShardedSource(path, shown)
    if lower.endswith(_SAFETENSORS):
        return SafetensorsSource(path, shown)
    raise UnsupportedError(
        f'"{shown}" is not a model file that can be read',
        expected=", ".join((*_SAFETENSORS, _INDEX, ".gguf")),
        received=path.suffix or "no suffix",
        fix="Convert it to safetensors first.",
    )


def _dequantized(source: ByteSource, dequantize: bool) -> Source:
    try:
        found = detect(source)
    except BaseException:
        source.close()
        raise
    return _layered(source, found, dequantize)


def _layered(source: ByteSource, found: Detected, dequantize: bool) -> Source:
    if not found.layers and not found.dropped:
        return source
    return QuantizedSource(source, found if dequantize else _left_out(found))


def _left_out(found: Detected) -> Detected:
    reasons = {
        key: f"quantized ({layer.quant}), and dequantizing is switched off"
        for key, layer in found.layers.items()
    }
    return Detected({}, {**found.dropped, **reasons})
