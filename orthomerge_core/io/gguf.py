"""A GGUF file as a source: plain tensors as they are, quantized blocks through the `gguf`
package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..errors import HeaderError, UnsupportedError
from .bytesource import ByteSource
from .dtypes import DTYPES
from .ggml_blocks import TORCH_DECODERS, low_bits
from .gguf_header import GgufTensor, parse_gguf
from .hashing import Hasher
from .header import TensorInfo
from .quant.contract import LayerSpec, QuantLayer, Scales
from .quant.detect import Detected
from .rawfile import RawFile

__all__ = ["PLAIN_TYPES", "GgufBlocks", "GgufSource"]

PLAIN_TYPES = {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
"""ggml's numbers of the types that need no decoding → safetensors dtype name."""


class GgufSource(ByteSource):
    """The stored bytes of one `.gguf` file; `found` describes its quantized tensors.

    Its string and number fields are the `metadata`. Shapes are those of the model, outermost axis
    first.

    Raises:
        HeaderError: the header is broken or contradicts the file.
        UnsupportedError: a type that `gguf` cannot decode, or `gguf` is not installed.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self._file = RawFile(path, name)
        try:
            header = parse_gguf(self._file)
            layers: dict[str, GgufBlocks] = {}
            infos: dict[str, TensorInfo] = {}
            for key, tensor in header.tensors.items():
                infos[key] = self._info(key, tensor, header.data_start)
                if tensor.kind not in PLAIN_TYPES:
                    layers[key] = GgufBlocks(self._file.name, key, tensor, infos[key])
            self._refuse_overlap(infos)
        except BaseException:
            self._file.close()
            raise
        fields = {k: str(v) for k, v in header.fields.items() if isinstance(v, (str, int, float))}
        super().__init__(self._file.name, infos, fields)
        self.found = Detected(layers, {})
        self._digest = header.digest

    def _info(self, key: str, tensor: GgufTensor, data_start: int) -> TensorInfo:
        numel = prod(tensor.shape)
        if tensor.kind in PLAIN_TYPES:
            dtype, shape = PLAIN_TYPES[tensor.kind], tensor.shape
            n_bytes = numel * DTYPES[dtype].bits // 8
        else:
            _, block, block_bytes = _block_type(self._file.name, key, tensor.kind)
            if not numel:
                what = f'tensor "{key}" in "{self._file.name}" is quantized and has no elements'
                raise HeaderError(
                    what, kind="bad_shape", received=list(tensor.shape), fix="Convert it again."
                )
            if numel % block:
                what = f'tensor "{key}" in "{self._file.name}" does not fill whole blocks'
                fix = "The file is damaged: download it again."
                raise HeaderError(
                    what, kind="size", expected=f"a multiple of {block}", received=numel, fix=fix
                )
            n_bytes = numel // block * block_bytes
            dtype, shape = "U8", (n_bytes,)
        start = data_start + tensor.offset
        if start + n_bytes > self._file.size:
            raise HeaderError(
                f'"{self._file.name}" is truncated in tensor "{key}"',
                kind="truncated",
                expected=f"{start + n_bytes} bytes or more",
                received=f"{self._file.size} bytes",
                fix="The file is damaged or incomplete: download it again.",
            )
        return TensorInfo(dtype, shape, start, start + n_bytes)

    def _refuse_overlap(self, infos: Mapping[str, TensorInfo]) -> None:
        end, last = 0, ""
        for key, info in sorted(infos.items(), key=lambda kv: (kv[1].start, kv[1].stop)):
            if info.start < end:
                what = f'tensors "{last}" and "{key}" in "{self._file.name}" overlap'
                raise HeaderError(
                    what, kind="overlap", fix="The file is damaged: download it again."
                )
            end, last = info.stop, key

    def pread(self, key: str, buffer: memoryview, start: int) -> None:
        """See `ByteSource`."""
        self._file.read_at(buffer, self.infos[key].start + start)

    def fingerprint(self) -> str:
        """See `Source`: XXH3-128 of the inode, size, times and header."""
        hasher = Hasher()
        hasher.update(self._file.identity.encode())
        hasher.update(self._digest.encode())
        return hasher.hexdigest()

    def check_unchanged(self) -> None:
        """See `Source`."""
        self._file.check_unchanged()

    def close(self) -> None:
        """See `Source`."""
        self._file.close()


def _block_type(file: str, key: str, kind: int) -> tuple[Any, int, int]:
    """gguf's type, its elements per block and its bytes per block."""
    try:
        import gguf
    except ImportError:
        raise UnsupportedError(
            f'"{file}" is a quantized GGUF file, and the gguf package is not installed',
            fix="Install it: pip install gguf.",
        ) from None
    try:
        found = gguf.GGMLQuantizationType(kind)
        block, n_bytes = gguf.GGML_QUANT_SIZES[found]
        gguf.dequantize(np.zeros((1, n_bytes), np.uint8), found)
    except (ValueError, KeyError, NotImplementedError):
        raise UnsupportedError(
            f'tensor "{key}" in "{file}" has a GGUF type that cannot be decoded',
            received=_type_name(gguf, kind),
            fix="Use another quantization of this model, e.g. Q8_0, or update the gguf package.",
        ) from None
    return found, block, n_bytes


def _type_name(gguf: Any, kind: int) -> str:
    names = {int(item): item.name for item in gguf.GGMLQuantizationType}
    return str(names.get(kind, f"number {kind}"))


class GgufBlocks(QuantLayer):
    """Blocks of a ggml type, decoded by gguf's own reference functions (Q8_0: W = float32(d) ·
    q)."""

    formats: ClassVar[tuple[str, ...]] = ()

    def __init__(self, file: str, key: str, tensor: GgufTensor, info: TensorInfo) -> None:
        self._type, self.unit, self.unit_bytes = _block_type(file, key, tensor.kind)
        form = str(self._type.name)
        super().__init__(LayerSpec(file, key.removesuffix(".weight"), form, info, {}, {}))
        self.quant, self.shape, self.needs = f"gguf_{form.lower()}", tensor.shape, ()
        self._decode = TORCH_DECODERS.get(form, self._decode_any)
        self.low_bits = low_bits(form, self.unit_bytes)

    def load(self, read: Callable[[str], Tensor]) -> Scales:
        """See `QuantLayer`: the scales lie in the blocks."""
        return {}

    def decode(self, scales: Scales, raw: Tensor, first: int, out: Tensor) -> None:
        """See `QuantLayer`."""
        self._decode(raw.view(-1, self.unit_bytes), out.view(-1, self.unit))

    def _decode_any(self, raw: Tensor, out: Tensor) -> None:
        import gguf

        with np.errstate(all="ignore"):  # a NaN or infinite scale is the file's, not an event
            values = gguf.dequantize(raw.numpy(), self._type)
        out.copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)).view(out.shape))
