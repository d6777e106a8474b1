"""The folder behind every cache: entries with their key and a checksum over the whole entry.

    <32 hex digits: XXH3-128 of all that follows>\n
    <JSON: what the entry is about, and its "key">\n
    <payload>

The longest unused entries go first, above a budget of bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .hashing import bytes_hash
from .temp import replace_file

__all__ = ["CacheFolder"]

_LONGEST_LINE = 1 << 20
_DIGEST = 32
_KEY = "key"


class CacheFolder:
    """The entries of a folder with one suffix, trimmed to `max_bytes`.

    What is missing, damaged, under another key or not an entry counts as unknown, and is made anew
    by whoever asked for it. Several threads and processes may share a folder.
    """

    def __init__(self, folder: Path, suffix: str, max_bytes: int) -> None:
        self._folder, self._suffix, self._max_bytes = Path(folder), suffix, max_bytes

    def path(self, key: str) -> Path:
        """Where the entry of that key is, or would be."""
        return self._folder / (key + self._suffix)

    def put(self, key: str, about: Mapping[str, Any], payload: bytes) -> None:
        """Write an entry and trim the folder, which is made if need be; raises `OSError`."""
        body = json.dumps({**about, _KEY: key}).encode() + b"\n" + payload
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.path(key), bytes_hash(body).encode() + b"\n" + body)
        self._trim()

    def get(self, key: str) -> bytes | None:
        """The payload under that key, or None."""
        return self.payload(self.path(key))

    def paths(self) -> list[Path]:
        """All entries, the most recently used first."""
        found = []
        for path in self._folder.glob(f"*{self._suffix}"):
            with suppress(OSError):
                found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found, reverse=True)]

    def about(self, path: Path) -> Mapping[str, Any]:
        """What an entry says it is about, unchecked until `payload`; nothing where it is none."""
        try:
            with path.open("rb") as file:
                file.readline(_DIGEST + 2)
                found = json.loads(file.readline(_LONGEST_LINE))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def payload(self, path: Path) -> bytes | None:
        """The bytes of an entry, which now counts as just used; a damaged one is removed."""
        try:
            digest, _, body = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        head, _, payload = body.partition(b"\n")
        if digest != bytes_hash(body).encode() or self.path(self._key_in(head)) != path:
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
    def _key_in(head: bytes) -> str:
        try:
            found = json.loads(head)
        except (ValueError, RecursionError):
            return ""
        return str(found.get(_KEY)) if isinstance(found, dict) else ""

    def _trim(self) -> None:
        size = 0
        for path in self.paths():
            with suppress(OSError):
                size += path.stat().st_size
                if size > self._max_bytes:
                    path.unlink()
