"""The storage dtypes of safetensors, by their names in the header, and their torch counterparts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import UnsupportedError, did_you_mean

__all__ = ["DTYPES", "DType", "dtype_named", "dtype_of", "is_storable", "n_bytes_of", "torch_dtype"]


@dataclass(frozen=True)
class DType:
    """A storage dtype: `bits` per element, `rank` in a file's order, torch's `attribute`."""

    name: str
    bits: int
    rank: int
    attribute: str


# In the order of safetensors' own enum (tensor.rs), by which its writer sorts tensors.
_ROWS = (
    ("BOOL", 8, "bool"),
    ("F4", 4, "float4_e2m1fn_x2"),
    ("F6_E2M3", 6, ""),
    ("F6_E3M2", 6, ""),
    ("U8", 8, "uint8"),
    ("I8", 8, "int8"),
    ("F8_E5M2", 8, "float8_e5m2"),
    ("F8_E4M3", 8, "float8_e4m3fn"),
    ("F8_E8M0", 8, "float8_e8m0fnu"),
    ("F8_E4M3FNUZ", 8, "float8_e4m3fnuz"),
    ("F8_E5M2FNUZ", 8, "float8_e5m2fnuz"),
    ("I16", 16, "int16"),
    ("U16", 16, "uint16"),
    ("F16", 16, "float16"),
    ("BF16", 16, "bfloat16"),
    ("I32", 32, "int32"),
    ("U32", 32, "uint32"),
    ("F32", 32, "float32"),
    ("C64", 64, "complex64"),
    ("F64", 64, "float64"),
    ("I64", 64, "int64"),
    ("U64", 64, "uint64"),
)

DTYPES = {name: DType(name, bits, rank, attr) for rank, (name, bits, attr) in enumerate(_ROWS)}


def dtype_named(name: str) -> DType:
    """The dtype of that header name, or `UnsupportedError` listing what is valid."""
    if name not in DTYPES:
        raise UnsupportedError(f'unknown dtype "{name}"', fix=did_you_mean(name, tuple(DTYPES)))
    return DTYPES[name]


def torch_dtype(name: str) -> torch.dtype:
    """torch's dtype for a header name, or `UnsupportedError` where this torch has none."""
    attribute = dtype_named(name).attribute
    found = getattr(torch, attribute, None) if attribute else None
    if found is None:
        raise UnsupportedError(
            f'dtype "{name}" has no counterpart in torch {torch.__version__}',
            fix="Convert the file to BF16 or F32, or update torch.",
        )
    return found


@lru_cache(maxsize=1)
def _names() -> dict[torch.dtype, str]:
    found = {getattr(torch, d.attribute, None): d.name for d in DTYPES.values() if d.attribute}
    return {dtype: name for dtype, name in found.items() if dtype is not None}


def is_storable(dtype: torch.dtype) -> bool:
    """Whether safetensors has a name for torch's dtype."""
    return dtype in _names()


def dtype_of(tensor: Tensor | torch.dtype) -> str:
    """The header name of a tensor's dtype, or `UnsupportedError` where safetensors has none."""
    dtype = tensor.dtype if isinstance(tensor, Tensor) else tensor
    if not is_storable(dtype):
        raise UnsupportedError(
            f"dtype {dtype} cannot be stored in safetensors", fix="Cast it to float32 first."
        )
    return _names()[dtype]


def n_bytes_of(name: str, shape: Sequence[int]) -> int | None:
    """Stored bytes of a tensor; None where a sub-byte dtype does not fill its last byte."""
    bits = dtype_named(name).bits
    for size in shape:
        bits *= size
    return None if bits % 8 else bits // 8
