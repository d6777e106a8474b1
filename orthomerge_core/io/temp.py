"""Temporary files beside their target: locked while they are written, removed when abandoned.

A process that is killed leaves its file behind, but the system drops its lock. Whoever next writes
to the same target takes that for the sign that the file may go.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import WriteError
from .rawfile import explain_os_error

__all__ = ["create_temp", "remove_stale", "replace_file", "write_failure"]

_MAX_STEM_BYTES = 200
"""Of a target's name within the name of its temporary file; systems take 255 bytes in all."""

_UNLOCKED_S = 3600.0
"""Where files cannot be locked, how long nobody has written to one that may go."""


def create_temp(target: Path) -> tuple[Path, BinaryIO]:
    """A new locked file `.<target>.<8 hex digits>.tmp`, open for writing; raises `OSError`."""
    while True:
        path = target.with_name(f".{_stem(target.name)}.{secrets.token_hex(4)}.tmp")
        file = path.open("xb+", buffering=0)
        if not _lock(file, wait=True) or os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()  # swept between its creation and its lock


def _stem(name: str) -> str:
    """The name, or what is left of a long one under a digest that tells it from others."""
    raw = os.fsencode(name)
    if len(raw) <= _MAX_STEM_BYTES:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return f"{raw[: _MAX_STEM_BYTES - 20].decode('utf-8', 'ignore')}-{digest}"


def replace_file(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all; others never see half of it. Raises `OSError`."""
    temp = path.with_name(f".{_stem(path.name)}.{secrets.token_hex(4)}.tmp")
    try:
        temp.write_bytes(content)
        temp.replace(path)
    except BaseException:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise


def write_failure(name: str, error: OSError) -> WriteError:
    """The error for a file that is absent now because the system refused to write it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = f'the disk is full while writing "{name}"'
        return WriteError(what, fix="Nothing was left behind. Free some space and try again.")
    fix = "Nothing was left behind. Choose a folder that exists and can be written to."
    received = explain_os_error(error)
    return WriteError(f'"{name}" cannot be written', received=received, fix=fix)


def remove_stale(folder: Path, name: str | None = None) -> None:
    """Remove temporary files of target `name` (None: of any) that no process is writing."""
    target = r"\..+" if name is None else re.escape(f".{_stem(name)}")
    pattern = re.compile(rf"{target}\.[0-9a-f]{{8}}\.tmp")
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_unowned(Path(entry.path))


def _remove_unowned(path: Path) -> None:
    with suppress(OSError):
        if os.name == "nt":  # a file that is open cannot be removed there
            if time.time() - path.stat().st_mtime > _UNLOCKED_S:
                path.unlink()
            return
        with path.open("rb") as file:
            if _lock(file, wait=False):
                path.unlink()


def _lock(file: BinaryIO, *, wait: bool) -> bool:
    """Take the file's lock, which ends with the file or its process; False where that fails."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it, or this disk knows no locks
        return False
    return True
