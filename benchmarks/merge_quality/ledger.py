"""Results on disk, one JSON line each: a run that was stopped, or asked for more, continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Ledger", "family_digest"]


def family_digest(folder: Path) -> str:
    """Short hash of all weights of a family."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        total.update(path.name.encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


class Ledger:
    """Finished results under keys made of everything that decides them.

    A line cut off by a crash is ignored. The last of two lines under one key counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    self._found[entry["key"]] = entry["result"]
                except (json.JSONDecodeError, KeyError, TypeError):
                    continue

    @staticmethod
    def key(*parts: object) -> str:
        """One key from everything that decides a result."""
        return json.dumps(parts, sort_keys=True)

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result, on disk at once."""
        self._found[key] = dict(result)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = self.path.read_bytes() if self.path.exists() else b""
        start = "" if not text or text.endswith(b"\n") else "\n"
        line = start + json.dumps({"key": key, "result": result}) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
