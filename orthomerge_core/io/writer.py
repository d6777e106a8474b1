"""Writing a safetensors file that is complete or absent, with the same bytes every time."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from ..errors import WriteError
from .closing import Closing
from .dtypes import dtype_named, dtype_of, n_bytes_of
from .hashing import tensor_bytes
from .header import TensorInfo
from .temp import create_temp, remove_stale, write_failure

__all__ = ["SafetensorsWriter", "build_header", "refuse_existing"]

_OURS = "Nothing was saved. This is a mistake of the program, not of the file: please report it."

_WRITEBACK_BYTES = 1 << 22


def build_header(
    layout: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, TensorInfo]]:
    """The first bytes of a file and where each tensor goes.

    Tensors are laid out by descending dtype, then by name, and the header is padded with spaces to
    a multiple of 8, as safetensors' own writer does; metadata is sorted. Equal input gives equal
    bytes.

    Returns:
        length and JSON as bytes, and name → info with offsets from the beginning of the file.
    """
    order = sorted(layout, key=lambda name: (-dtype_named(layout[name][0]).rank, name))
    tree: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end, spans = 0, {}
    for name in order:
        dtype, shape = layout[name]
        size = n_bytes_of(dtype, shape)
        if size is None:
            what = f'tensor "{name}" does not fill whole bytes'
            raise WriteError(what, received=f"{dtype} {list(shape)}", fix="Store it as U8.")
        spans[name] = (end, end + size)
        tree[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    base = 8 + len(text)
    infos = {
        name: TensorInfo(layout[name][0], tuple(layout[name][1]), base + low, base + high)
        for name, (low, high) in spans.items()
    }
    return len(text).to_bytes(8, "little") + text, infos


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `WriteError` where there is a file that may not be replaced."""
    if not overwrite and path.exists():
        what = f'"{path.name}" exists already'
        raise WriteError(what, fix="Choose another name, or allow overwriting.")


class SafetensorsWriter(Closing):
    """Writes tensors in any order at fixed offsets into a temporary file beside `path`.

    Use as a context manager; `finish` makes the file appear under its name, at once and complete.
    Leaving without it, for whatever reason, leaves nothing; what a killed process left of the same
    file is removed by the next writer. Threads may write different tensors at the same time.

    Args:
        path: the file to make.
        layout: name → (dtype name, shape).
        metadata: string map for the header.
        overwrite: whether an existing file may be replaced.

    Raises:
        WriteError: the target exists, its folder cannot be written, or the disk has no room.
    """

    def __init__(
        self,
        path: Path,
        layout: Mapping[str, tuple[str, Sequence[int]]],
        metadata: Mapping[str, str],
        *,
        overwrite: bool = False,
    ) -> None:
        self.path, self._overwrite = path, overwrite
        self._layout, self._metadata = dict(layout), dict(metadata)
        self._head, self.infos = self.header(metadata)
        self.n_bytes = max((info.stop for info in self.infos.values()), default=len(self._head))
        self._written: dict[str, list[tuple[int, int]]] = {name: [] for name in layout}
        self._lock = threading.Lock()
        refuse_existing(path, overwrite)
        self._refuse_full_disk()
        remove_stale(path.parent, path.name)
        try:
            self._temp, self._file = create_temp(path)
        except OSError as error:
            raise write_failure(self.path.name, error) from None
        try:
            self._write_at(memoryview(self._head), 0)
            self._file.truncate(self.n_bytes)
        except BaseException as error:
            self.abandon()
            if isinstance(error, OSError):
                raise write_failure(self.path.name, error) from None
            raise

    def header(self, metadata: Mapping[str, str]) -> tuple[bytes, dict[str, TensorInfo]]:
        """The file's first bytes with these strings in it, and where each tensor goes."""
        return build_header(self._layout, metadata)

    def write(self, key: str, tensor: Tensor) -> None:
        """Store a whole tensor of exactly the announced dtype and shape."""
        info = self._info(key)
        shape = tuple(tensor.shape)
        if info.dtype == "F4":  # two elements to a byte
            shape = (*shape[:-1], shape[-1] * 2)
        if shape != info.shape:
            what, fix = (
                f'tensor "{key}" has another shape than announced',
                _OURS,
            )
            raise WriteError(what, expected=list(info.shape), received=list(shape), fix=fix)
        self._store(key, tensor, 0)

    def write_flat(self, key: str, flat: Tensor, start: int) -> None:
        """Store elements [start, start + len(flat)) of a tensor."""
        bits = dtype_named(self._info(key).dtype).bits
        self._store(key, flat, start * bits // 8)

    def finish(self, patch: Mapping[str, str] | None = None) -> None:
        """Make the file appear under its name, durable on disk.

        Args:
            patch: metadata values to replace by others of the same length, e.g. a late hash.

        Raises:
            WriteError: a tensor was not written completely, or the disk refused.
        """
        self._refuse_gaps()
        try:
            if patch:
                self._write_at(memoryview(self._patched(patch)), 0)
            os.fsync(self._file.fileno())
            refuse_existing(self.path, self._overwrite)
            if os.name == "nt":  # an open file cannot be renamed there
                self._file.close()
            self._temp.replace(self.path)
            self._file.close()
            self._sync_folder()
        except OSError as error:
            self.abandon()
            raise write_failure(self.path.name, error) from None
        except WriteError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leave nothing behind; harmless after `finish`."""
        self._file.close()
        self._temp.unlink(missing_ok=True)

    def close(self) -> None:
        """Same as `abandon`."""
        self.abandon()

    def _info(self, key: str) -> TensorInfo:
        if key not in self.infos:
            what, fix = f'tensor "{key}" was not announced', _OURS
            raise WriteError(what, fix=fix)
        return self.infos[key]

    def _store(self, key: str, tensor: Tensor, start: int) -> None:
        info, data = self._info(key), tensor_bytes(tensor)
        dtype = dtype_of(tensor)
        if dtype != info.dtype or start < 0 or start + len(data) > info.n_bytes:
            what, fix = f'tensor "{key}" is not what was announced', _OURS
            raise WriteError(
                what,
                expected=f"{info.dtype}, {info.n_bytes} bytes",
                received=f"{dtype}, bytes {start} to {start + len(data)}",
                fix=fix,
            )
        try:
            self._write_at(data, info.start + start)
        except OSError as error:
            raise write_failure(self.path.name, error) from None
        with self._lock:
            self._written[key] = _joined([*self._written[key], (start, start + len(data))])
        self._begin_writeback(info, start, start + len(data))

    def _begin_writeback(self, info: TensorInfo, start: int, stop: int) -> None:
        """Let the disk begin on each `_WRITEBACK_BYTES` that are full, so that `finish` need not
        wait for the whole file: on Linux this advice starts the writing and waits for nothing."""
        low = start // _WRITEBACK_BYTES * _WRITEBACK_BYTES
        high = stop if stop == info.n_bytes else stop // _WRITEBACK_BYTES * _WRITEBACK_BYTES
        if sys.platform == "linux" and high > max(low, _WRITEBACK_BYTES - 1):
            with suppress(OSError):  # advice only
                fd = self._file.fileno()
                os.posix_fadvise(fd, info.start + low, high - low, os.POSIX_FADV_DONTNEED)

    def _write_at(self, data: memoryview, offset: int) -> None:
        done = 0
        while done < len(data):
            if hasattr(os, "pwrite"):
                done += os.pwrite(self._file.fileno(), data[done:], offset + done)
            else:
                with self._lock:
                    self._file.seek(offset + done)
                    done += self._file.write(data[done:])

    def _patched(self, patch: Mapping[str, str]) -> bytes:
        head, _ = self.header({**self._metadata, **patch})
        same = all(len(patch[k].encode()) == len(self._metadata.get(k, "").encode()) for k in patch)
        if not same or len(head) != len(self._head):
            what = "a metadata value may only be replaced by one of the same length"
            raise WriteError(what, received=", ".join(patch), fix=_OURS)
        return head

    def _refuse_gaps(self) -> None:
        gaps = [
            name
            for name, info in self.infos.items()
            if info.n_bytes and self._written[name] != [(0, info.n_bytes)]
        ]
        if gaps:
            self.abandon()
            what = f'{len(gaps)} tensors of "{self.path.name}" were not written, e.g. "{gaps[0]}"'
            raise WriteError(what, fix=_OURS)

    def _refuse_full_disk(self) -> None:
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise write_failure(self.path.name, error) from None
        if free < self.n_bytes:
            raise WriteError(
                f'there is no room for "{self.path.name}"',
                expected=f"{math.ceil(self.n_bytes / 2**20)} MiB free",
                received=f"{math.floor(free / 2**20)} MiB",
                fix="Free some space, or choose another disk or a smaller dtype.",
            )

    def _sync_folder(self) -> None:
        """Make the rename itself durable, where folders can be opened."""
        if os.name != "posix":
            return
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined
