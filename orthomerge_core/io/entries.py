"""Small files of a cache: what each is about in its first line, then its bytes under their hash."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .hashing import bytes_hash
from .temp import replace_file

__all__ = ["Entries"]

_LONGEST_LINE = 1 << 20
_HASH = "payload"


class Entries:
    """The files of a folder with one suffix, trimmed to `max_bytes`: the longest unused go first.

    What is missing, damaged or not an entry counts as unknown. Several threads and processes may
    share a folder.
    """

    def __init__(self, folder: Path, suffix: str, max_bytes: int) -> None:
        self._folder, self._suffix, self._max_bytes = Path(folder), suffix, max_bytes

    def path(self, name: str) -> Path:
        """Where the entry of that name is, or would be."""
        return self._folder / (name + self._suffix)

    def put(self, name: str, about: Mapping[str, Any], payload: bytes) -> None:
        """Write an entry and trim the folder, which is made if need be; raises `OSError`."""
        line = json.dumps({**about, _HASH: bytes_hash(payload)}).encode() + b"\n"
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.path(name), line + payload)
        self._trim()

    def paths(self) -> list[Path]:
        """All entries, the most recently used first."""
        found = []
        for path in self._folder.glob(f"*{self._suffix}"):
            with suppress(OSError):
                found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found, reverse=True)]

    def about(self, path: Path) -> Mapping[str, Any]:
        """The first line of an entry; nothing where it is not one."""
        try:
            with path.open("rb") as file:
                found = json.loads(file.readline(_LONGEST_LINE))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def payload(self, path: Path) -> bytes | None:
        """The bytes of an entry, which now counts as just used; a damaged one is removed."""
        try:
            head, _, payload = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if self._hash_in(head) != bytes_hash(payload):
            self.remove(path)
            return None
        with suppress(OSError):  # a folder that can only be read serves as well
            os.utime(path)
        return payload

    def remove(self, path: Path) -> None:
        """Remove an entry, if that can be done."""
        with suppress(OSError):
            path.unlink()

    @staticmethod
    def _hash_in(head: bytes) -> str | None:
        try:
            found = json.loads(head)
        except (ValueError, RecursionError):
            return None
        return found.get(_HASH) if isinstance(found, dict) else None

    def _trim(self) -> None:
        size = 0
        for path in self.paths():
            with suppress(OSError):
                size += path.stat().st_size
                if size > self._max_bytes:
                    path.unlink()
