"""Writing a GGUF file that is complete or absent, with the same bytes every time.

Little-endian, version 3, data aligned to 32 bytes; tensors in the layout's order. Source: ggml,
docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from ..errors import WriteError
from .dtypes import n_bytes_of
from .gguf import PLAIN_TYPES
from .header import TensorInfo
from .writer import SafetensorsWriter

__all__ = ["MAX_NAME_BYTES", "GgufWriter", "build_gguf_header"]

MAX_NAME_BYTES = 127
"""Longest tensor name that readers of GGUF files for images take."""

_ALIGNMENT = 32
_MAX_AXES = 4
_NUMBERS = {dtype: number for number, dtype in PLAIN_TYPES.items()}
_U32, _I32, _STRING, _ARRAY = 4, 5, 8, 9

Packed = Mapping[str, tuple[int, tuple[int, ...]]]
"""Tensor of ggml blocks → ggml's number of its type, and its shape in the model."""


def build_gguf_header(
    layout: Mapping[str, tuple[str, Sequence[int]]],
    metadata: Mapping[str, str],
    packed: Packed,
    numbers: Mapping[str, int],
) -> tuple[bytes, dict[str, TensorInfo]]:
    """The first bytes of a file and where each tensor goes. Equal input gives equal bytes.

    A tensor of more than four axes is announced as [1, elements], with its shape in the field
    `comfy.gguf.orig_shape.<name>`.

    Args:
        layout: name → (safetensors dtype name, shape); of a packed tensor ("U8", [bytes]).
        metadata, numbers: fields that are strings and unsigned integers of 32 bits.
    """
    fields = [_text(k) + struct.pack("<I", _STRING) + _text(v) for k, v in sorted(metadata.items())]
    fields += [_text(k) + struct.pack("<II", _U32, v) for k, v in sorted(numbers.items())]
    infos, offset, spans = [], 0, {}
    for name, (dtype, stored) in layout.items():
        kind, shape = packed.get(name, (_NUMBERS.get(dtype, -1), tuple(stored)))
        if kind < 0 or len(name.encode()) > MAX_NAME_BYTES:
            what = f'GGUF cannot hold the tensor "{name}"'
            raise WriteError(what, received=dtype, fix="Choose another output dtype.")
        if len(shape) > _MAX_AXES:
            head = struct.pack("<IIQ", _ARRAY, _I32, len(shape))
            sizes = struct.pack(f"<{len(shape)}i", *shape)
            fields.append(_text(f"comfy.gguf.orig_shape.{name}") + head + sizes)
            shape = (1, prod(shape))
        axes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        infos.append(_text(name) + axes + struct.pack("<IQ", kind, offset))
        size = n_bytes_of(dtype, stored) or 0
        spans[name] = (offset, offset + size)
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(fields))
    head += b"".join(fields) + b"".join(infos)
    head += b"\0" * (-len(head) % _ALIGNMENT)
    base = len(head)
    return head, {
        name: TensorInfo(layout[name][0], tuple(layout[name][1]), base + low, base + high)
        for name, (low, high) in spans.items()
    }


class GgufWriter(SafetensorsWriter):
    """As `SafetensorsWriter`, in GGUF's layout.

    Args:
        packed: see `Packed`. numbers: fields that are integers.
    """

    def __init__(
        self,
        path: Path,
        layout: Mapping[str, tuple[str, Sequence[int]]],
        metadata: Mapping[str, str],
        *,
        packed: Packed,
        numbers: Mapping[str, int],
        overwrite: bool = False,
    ) -> None:
        self._packed, self._fields = dict(packed), dict(numbers)
        super().__init__(path, layout, metadata, overwrite=overwrite)

    def header(self, metadata: Mapping[str, str]) -> tuple[bytes, dict[str, TensorInfo]]:
        """See `SafetensorsWriter`."""
        return build_gguf_header(self._layout, metadata, self._packed, self._fields)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
