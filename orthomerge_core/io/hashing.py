"""Content hashes: XXH3-128 of stored bytes, taken as the bytes pass by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import OrthoMergeError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # 3.12; only for the reader

__all__ = ["Hasher", "bytes_hash", "content_hash", "tensor_bytes", "tensor_hash"]


class Hasher:
    """XXH3-128, fed piece by piece. It is not cryptographic: it finds changes, not forgeries."""

    def __init__(self) -> None:
        try:
            import xxhash
        except ImportError:
            what, fix = "xxhash is not installed", "Install it: pip install xxhash."
            raise OrthoMergeError(what, fix=fix) from None
        self._state: Any = xxhash.xxh3_128()

    def update(self, buffer: Buffer) -> None:
        """Take in the next bytes."""
        self._state.update(buffer)

    def hexdigest(self) -> str:
        """32 hex digits of everything taken in so far."""
        return str(self._state.hexdigest())


def bytes_hash(buffer: Buffer) -> str:
    """XXH3-128 of the bytes, 32 hex digits."""
    hasher = Hasher()
    hasher.update(buffer)
    return hasher.hexdigest()


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor as stored: row-major, little-endian. Copies only if it must."""
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    return flat.view(torch.uint8).numpy().data


def tensor_hash(tensor: Tensor) -> str:
    """XXH3-128 of a tensor's stored bytes: equals the hash of the same tensor in a file."""
    return bytes_hash(tensor_bytes(tensor))


def content_hash(items: Mapping[str, tuple[str, Sequence[int], str]]) -> str:
    """One hash for a whole model: XXH3-128 of sorted lines "name dtype shape hash".

    Args:
        items: name → (dtype name, shape, tensor hash).
    """
    lines = [
        f"{name} {dtype} {'x'.join(map(str, shape))} {digest}\n"
        for name, (dtype, shape, digest) in sorted(items.items())
    ]
    return bytes_hash("".join(lines).encode())
