"""A file read at offsets, never mapped: one that shrinks is an error, not a dead process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ..errors import FileChangedError, FileError

__all__ = ["RawFile", "explain_os_error"]


def explain_os_error(error: OSError) -> str:
    """The system's words for an error without its path, e.g. "Permission denied"."""
    return error.strerror or type(error).__name__


class RawFile:
    """An open file with `read_at`; `name` is what messages call it.

    Raises `FileError` when it cannot be opened. Threads may read at the same time.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path, self.name = path, name or path.name or "."
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise FileError(
                f'"{self.name}" does not exist', fix="Check the name and the folder."
            ) from None
        except OSError as error:
            what = f'"{self.name}" cannot be opened'
            fix = "Choose a readable model file, not a folder."
            raise FileError(what, received=explain_os_error(error), fix=fix) from None
        stat = os.fstat(self._file.fileno())
        self.size, self.mtime_ns = stat.st_size, stat.st_mtime_ns
        # Siblings out of one archive share size, mtime and header; the inode tells them apart.
        self.identity = f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        self._lock = threading.Lock()

    def read_at(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with the bytes from `offset` on; `FileChangedError` if there are fewer."""
        done = 0
        while done < len(buffer):
            try:
                count = self._read_some(buffer[done:] if done else buffer, offset + done)
            except ValueError:  # the file object was closed
                raise FileError(f'"{self.name}" is already closed', fix="Open it again.") from None
            except OSError as error:
                reason = explain_os_error(error)
                fix = "Check the disk, then try again."
                raise FileError(f'"{self.name}" cannot be read', received=reason, fix=fix) from None
            if count == 0:
                raise FileChangedError(
                    f'"{self.name}" shrank while it was read',
                    expected=f"{self.size} bytes",
                    received=f"{offset + done} bytes",
                    fix="Wait until whatever writes it has finished, then run again.",
                )
            done += count

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0

    def check_unchanged(self) -> None:
        """Raise `FileChangedError` unless size and time are still those of the opening."""
        fix = "Run again so that it is read anew."
        try:
            stat = self.path.stat()
        except OSError:
            raise FileChangedError(
                f'"{self.name}" vanished after it was opened', fix="Put it back, then run again."
            ) from None
        if stat.st_size != self.size:
            what = f'"{self.name}" changed after it was opened'
            raise FileChangedError(
                what, expected=f"{self.size} bytes", received=f"{stat.st_size} bytes", fix=fix
            )
        if stat.st_mtime_ns != self.mtime_ns:
            raise FileChangedError(f'"{self.name}" was written to after it was opened', fix=fix)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
