"""Keeps tensors on disk until the header that describes them can be written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .closing import Closing
from .hashing import tensor_bytes
from .temp import write_failure

__all__ = ["Spool"]


class Spool(Closing):
    """Named tensors in a nameless file beside the one that is to be written; gone when closed.

    Memory: one tensor at a time. A context manager.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, tuple[torch.dtype, tuple[int, ...], int, int]] = {}
        try:
            self._file = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed by `close`
        except OSError as error:
            raise write_failure(self._path.name, error) from None

    def __len__(self) -> int:
        return len(self._places)

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        data = tensor_bytes(tensor)
        try:
            start = self._file.seek(0, 2)
            self._file.write(data)
        except OSError as error:
            raise write_failure(self._path.name, error) from None
        self._places[name] = (tensor.dtype, tuple(tensor.shape), start, len(data))

    def shapes(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Name → (dtype, shape), in the order in which they came."""
        return {name: (dtype, shape) for name, (dtype, shape, _, _) in self._places.items()}

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Name and tensor, in the order in which they came."""
        for name, (dtype, shape, start, size) in self._places.items():
            self._file.seek(start)
            data = np.empty(size, dtype=np.uint8)
            self._file.readinto(data.data)
            yield name, torch.from_numpy(data).view(dtype).reshape(shape)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
