"""Remembers the content hashes of files, so that no file is read just to be hashed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .cache_folder import CacheFolder

__all__ = ["HashMemo"]

_SUFFIX = ".hashes"
_MAX_BYTES = 256 << 20
_LENGTHS = (32, 64)  # XXH3-128 of a tensor, SHA-256 of a file


class HashMemo:
    """Tensor hashes of files under their fingerprints.

    One entry of a `CacheFolder` per fingerprint in `folder`; with None it lives in memory only. It
    is a cache: what is missing, damaged or unwritable counts as unknown.
    """

    def __init__(self, folder: Path | None, max_bytes: int = _MAX_BYTES) -> None:
        self._folder = None if folder is None else CacheFolder(folder, _SUFFIX, max_bytes)
        self._known: dict[str, dict[str, str]] = {}

    def get(self, fingerprint: str) -> Mapping[str, str]:
        """tensor → hash as far as known; empty if nothing is."""
        if fingerprint not in self._known:
            self._known[fingerprint] = self._load(fingerprint)
        return dict(self._known[fingerprint])

    def put(self, fingerprint: str, hashes: Mapping[str, str]) -> None:
        """Add what was learnt to what is known."""
        before = self.get(fingerprint)
        merged = {**before, **hashes}
        if merged == before:
            return
        self._known[fingerprint] = merged
        if self._folder is not None:
            with suppress(OSError):
                content = json.dumps(merged, sort_keys=True).encode()
                self._folder.put(fingerprint, {}, content)

    def _load(self, fingerprint: str) -> dict[str, str]:
        payload = self._folder.get(fingerprint) if self._folder is not None else None
        if payload is None:
            return {}
        try:
            found = json.loads(payload)
        except (ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, str) and len(v) in _LENGTHS}
