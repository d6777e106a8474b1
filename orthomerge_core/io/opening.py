"""From a path to a source: the one place that decides what kind of file it is."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import FileError, UnsupportedError
from .bytesource import ByteSource
from .quant.detect import Detected, detect
from .quant.source import QuantisedSource
from .reader import SafetensorsSource
from .source import Source

__all__ = ["is_readable_name", "open_source"]

_SAFETENSORS = (".safetensors", ".sft")
_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
_INDEX = ".safetensors.index.json"
_LATER_SHARD = re.compile(r"-0*(?!0*1-of-)\d+-of-\d+\.(safetensors|sft)$")


def is_readable_name(name: str) -> bool:
    """Whether such a file is a model: safetensors or GGUF, or the first of several shards."""
    lower = name.lower()
    return lower.endswith((*_SAFETENSORS, ".gguf")) and not _LATER_SHARD.search(lower)


def open_source(path: Path, *, name: str | None = None, dequantise: bool = True) -> Source:
    """Open a model file for reading.

    Args:
        path: a `.safetensors` or `.sft` file.
        name: what messages call it; the file's name by default.
        dequantise: read quantised layers as the float32 weights they stand for. Without it they are
            left out and listed in `dropped`, since their stored integers are no weights.

    Raises:
        FileError: it does not exist or cannot be opened.
        HeaderError: its header is broken or contradicts the file.
        UnsupportedError: a pickle, an unknown format or an unknown quantisation.
    """
    path, shown = Path(path), name or Path(path).name
    lower = path.name.lower()
    if lower.endswith(_PICKLES):
        raise UnsupportedError(
            f'"{shown}" is a pickle checkpoint, which can run code when it is opened',
            fix="Convert it to safetensors first, for example with ComfyUI's ModelSave.",
        )
    if path.is_dir():
        what = f'"{shown}" is a folder'
        raise FileError(what, fix="Choose a model file in it.")
    if not lower.endswith(_SAFETENSORS):
        raise UnsupportedError(
            f'"{shown}" is no model file that can be read here',
            expected=", ".join(_SAFETENSORS),
            received=path.suffix or "no suffix",
            fix="Convert it to safetensors first.",
        )
    return _dequantised(SafetensorsSource(path, name), dequantise)


def _dequantised(source: ByteSource, dequantise: bool) -> Source:
    try:
        found = detect(source)
        if not found.layers and not found.dropped:
            return source
        if not dequantise:
            found = _left_out(found)
        return QuantisedSource(source, found)
    except BaseException:
        source.close()
        raise


def _left_out(found: Detected) -> Detected:
    reasons = {
        key: f"quantised ({layer.quant}), and dequantising is switched off"
        for key, layer in found.layers.items()
    }
    return Detected({}, {**found.dropped, **reasons})
