"""Reads a file at offsets, never mapped: a file that shrinks is an error, not a dead process."""

from __future__ import annotations

import os
import stat
import threading
from io import FileIO
from pathlib import Path

from ..errors import FileChangedError, FileError

__all__ = ["RawFile", "explain_os_error"]


def explain_os_error(error: OSError) -> str:
    """The system's words for an error without its path, e.g. "Permission denied"."""
    return error.strerror or type(error).__name__


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _open_regular(path: Path, name: str) -> FileIO:
    """Open a regular file; `FileError` for what is none, which is looked at before and after."""
    _refuse_others(path.stat().st_mode, name)
    flags = os.O_RDONLY
    for flag in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK"):  # the last: should a pipe take its place
        flags |= getattr(os, flag, 0)
    file = FileIO(os.open(path, flags), "rb")
    try:
        _refuse_others(os.fstat(file.fileno()).st_mode, name)
    except BaseException:
        file.close()
        raise
    return file


_OTHER_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _refuse_others(mode: int, name: str) -> None:
    if stat.S_ISREG(mode):
        return
    kind = next((words for test, words in _OTHER_KINDS if test(mode)), "something else")
    raise FileError(
        f'"{name}" cannot be opened',
        expected="a regular file",
        received=kind,
        fix="Choose a readable model file.",
    )


class RawFile:
    """An open file with `read_at`; `name` is what messages call it.

    Only a regular file is opened: a pipe would wait for ever, a device has no end. Raises
    `FileError` when it cannot be opened. Threads may read at the same time.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path, self.name = path, name or path.name or "."
        try:
            self._file = _open_regular(path, self.name)
        except FileNotFoundError:
            raise FileError(
                f'"{self.name}" does not exist', fix="Check the name and the folder."
            ) from None
        except OSError as error:
            what = f'"{self.name}" cannot be opened'
            fix = "Choose a readable model file, not a folder."
            raise FileError(what, received=explain_os_error(error), fix=fix) from None
        self._stat = os.fstat(self._file.fileno())
        self.size = self._stat.st_size
        # Siblings out of one archive share size, mtime and header; the inode tells them apart.
        self.identity = " ".join(map(str, _identity(self._stat)))
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
        """Raise `FileChangedError` unless inode, size and times are still those of the opening."""
        fix = "Run again so that it is read anew."
        try:
            now = self.path.stat()
        except OSError:
            raise FileChangedError(
                f'"{self.name}" vanished after it was opened', fix="Put it back, then run again."
            ) from None
        if now.st_size != self.size:
            what = f'"{self.name}" changed after it was opened'
            raise FileChangedError(
                what, expected=f"{self.size} bytes", received=f"{now.st_size} bytes", fix=fix
            )
        if _identity(now) != _identity(self._stat):
            same = now.st_ino == self._stat.st_ino
            words = "was written to" if same else "was replaced by another file"
            raise FileChangedError(f'"{self.name}" {words} after it was opened', fix=fix)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
