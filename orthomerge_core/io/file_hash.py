"""SHA-256 of whole files, by which model sites and web UIs know them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..progress import Progress
from .hash_memo import HashMemo
from .rawfile import RawFile

__all__ = ["AUTO_V2", "file_sha256"]

AUTO_V2 = 10
"""How many leading digits of a SHA-256 are the hash that sites call AutoV2."""

_CHUNK_BYTES = 8 << 20
_WHOLE_FILE = "#sha256"


def file_sha256(path: Path, memo: HashMemo | None = None, progress: Progress | None = None) -> str:
    """64 hex digits. Reads the file from start to end once, in 8 MiB of memory.

    What `memo` knows of a file of this identity, size and time is not read again.

    Raises: FileError, FileChangedError, and what `progress` raises to stop.
    """
    progress, file = progress or Progress(), RawFile(path)
    try:
        known = memo.get(file.identity).get(_WHOLE_FILE) if memo else None
        if known is not None:
            return known
        found, buffer = hashlib.sha256(), bytearray(min(_CHUNK_BYTES, max(file.size, 1)))
        progress.start(float(file.size), f"Reading {path.name} for its SHA-256")
        for start in range(0, file.size, len(buffer)):
            part = memoryview(buffer)[: min(len(buffer), file.size - start)]
            file.read_at(part, start)
            found.update(part)
            progress.advance(float(len(part)))
        if memo:
            memo.put(file.identity, {_WHOLE_FILE: found.hexdigest()})
        return found.hexdigest()
    finally:
        file.close()
