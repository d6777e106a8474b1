"""One tensor's fields in a safetensors header: dtype, shape and data_offsets, checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import HeaderError
from .dtypes import DTYPES, n_bytes_of

__all__ = ["DOWNLOAD", "FIELDS", "Item", "TensorInfo", "shown", "tensor_info"]

FIELDS = ("dtype", "shape", "data_offsets")
DOWNLOAD = "The file is damaged or incomplete: download or convert it again."

_MAX_RANK = 64  # torch's own limit
_MAX_NUMEL = 2**62


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies: bytes [start, stop) counted from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def n_bytes(self) -> int:
        """Stored bytes."""
        return self.stop - self.start


class Item(NamedTuple):
    """The fields of a tensor as they were parsed, a third of a dict's size."""

    dtype: Any
    shape: Any
    data_offsets: Any

    @classmethod
    def compact(cls, dtype: Any, shape: Any, data_offsets: Any) -> Item:
        """The fields with lists as tuples, and a known dtype's name as the one that all share."""
        known = DTYPES.get(dtype) if isinstance(dtype, str) else None
        lists = (tuple(x) if isinstance(x, list) else x for x in (shape, data_offsets))
        return cls(known.name if known else dtype, *lists)


def tensor_info(name: str, key: str, item: Any, data_start: int) -> TensorInfo:
    """The checked fields of one tensor; `HeaderError` says which is wrong."""
    if isinstance(item, dict) and all(field in item for field in FIELDS):
        item = Item(*(item[field] for field in FIELDS))  # and fields that nobody knows
    if not isinstance(item, Item):
        raise HeaderError(
            f'tensor {shown(key)} in "{name}" is incomplete',
            kind="incomplete",
            expected="dtype, shape and data_offsets",
            received=shown(sorted(item) if isinstance(item, dict) else item),
            fix=DOWNLOAD,
        )
    dtype = item.dtype
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise HeaderError(
            f'tensor {shown(key)} in "{name}" has an unknown dtype',
            kind="unknown_dtype",
            expected="one of " + ", ".join(DTYPES),
            received=shown(dtype),
            fix="Convert the file to BF16 or F32.",
        )
    shape = _shape(name, key, item.shape)
    start, stop = _offsets(name, key, item.data_offsets)
    n_bytes = n_bytes_of(dtype, shape)
    if n_bytes is None or (dtype == "F4" and shape[-1] % 2):
        raise HeaderError(
            f'tensor {shown(key)} in "{name}" does not fill whole bytes',
            kind="size",
            expected="an even last axis",
            received=f"{dtype} {list(shape)}",
            fix=DOWNLOAD,
        )
    if stop - start != n_bytes:
        raise HeaderError(
            f'tensor {shown(key)} in "{name}" has a size that contradicts its shape',
            kind="size",
            expected=f"{n_bytes} bytes for {dtype} {list(shape)}",
            received=f"{stop - start} bytes",
            fix=DOWNLOAD,
        )
    return TensorInfo(DTYPES[dtype].name, shape, data_start + start, data_start + stop)


def _shape(name: str, key: str, item: Any) -> tuple[int, ...]:
    good = isinstance(item, list | tuple) and len(item) <= _MAX_RANK and all(map(_is_size, item))
    numel = 1
    for size in item if good else ():
        numel = min(numel * max(size, 1), _MAX_NUMEL)  # torch counts strides past a 0 too
    if good and numel < _MAX_NUMEL:
        return tuple(item)
    raise HeaderError(
        f'tensor {shown(key)} in "{name}" has an impossible shape',
        kind="bad_shape",
        expected=f"at most {_MAX_RANK} whole numbers from 0",
        received=shown(list(item) if isinstance(item, tuple) else item),
        fix=DOWNLOAD,
    )


def _offsets(name: str, key: str, item: Any) -> tuple[int, int]:
    if isinstance(item, list | tuple) and len(item) == 2 and all(_is_size(n) for n in item):
        start, stop = item
        if start <= stop:
            return start, stop
    raise HeaderError(
        f'tensor {shown(key)} in "{name}" has impossible offsets',
        kind="bad_offsets",
        expected="[start, stop] with 0 <= start <= stop",
        received=shown(list(item) if isinstance(item, tuple) else item),
        fix=DOWNLOAD,
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def shown(value: Any) -> str:
    """A value from a header in a message, shortened."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "deeply nested JSON"
    return text if len(text) <= 80 else text[:77] + "…"
