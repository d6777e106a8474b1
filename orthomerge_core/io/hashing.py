"""Content hashes: XXH3-128 of stored bytes, taken as the bytes pass by, remembered per file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import OrthoMergeError
from .temp import replace_file

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # 3.12; only for the reader

__all__ = ["HashMemo", "Hasher", "bytes_hash", "content_hash", "tensor_bytes", "tensor_hash"]


class Hasher:
    """XXH3-128, fed piece by piece. It is not cryptographic: it finds changes, not forgeries."""

    def __init__(self) -> None:
        try:
            import xxhash
        except ImportError:
            what, fix = "xxhash is not installed", "Install it: pip install xxhash."
            raise OrthoMergeError(what, fix=fix) from None
        self._state: Any = xxhash.xxh3_128()

    def update(self, buffer: Buffer) -> None:
        """Take in the next bytes."""
        self._state.update(buffer)

    def hexdigest(self) -> str:
        """32 hex digits of everything taken in so far."""
        return str(self._state.hexdigest())


def bytes_hash(buffer: Buffer) -> str:
    """XXH3-128 of the bytes, 32 hex digits."""
    hasher = Hasher()
    hasher.update(buffer)
    return hasher.hexdigest()


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor as stored: row-major, little-endian. Copies only if it must."""
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    return flat.view(torch.uint8).numpy().data


def tensor_hash(tensor: Tensor) -> str:
    """XXH3-128 of a tensor's stored bytes: equals the hash of the same tensor in a file."""
    return bytes_hash(tensor_bytes(tensor))


def content_hash(items: Mapping[str, tuple[str, Sequence[int], str]]) -> str:
    """One hash for a whole model: XXH3-128 of sorted lines "name dtype shape hash".

    Args:
        items: name → (dtype name, shape, tensor hash).
    """
    lines = [
        f"{name} {dtype} {'x'.join(map(str, shape))} {digest}\n"
        for name, (dtype, shape, digest) in sorted(items.items())
    ]
    return bytes_hash("".join(lines).encode())


class HashMemo:
    """Tensor hashes of files under their fingerprints: no file is read just to be hashed.

    One small JSON file per fingerprint in `path`, at most `max_files` of them (the oldest go);
    with None it lives in memory only. It is a cache: what is missing, corrupt or unwritable counts
    as unknown.
    """

    def __init__(self, path: Path | None, max_files: int = 1024) -> None:
        self._folder, self._max_files = path, max_files
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
            self._store(self._folder, fingerprint, merged)

    def _load(self, fingerprint: str) -> dict[str, str]:
        if self._folder is None:
            return {}
        try:
            found = json.loads((self._folder / f"{fingerprint}.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, str) and len(v) == 32}

    def _store(self, folder: Path, fingerprint: str, hashes: Mapping[str, str]) -> None:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            content = json.dumps(hashes, sort_keys=True).encode()
            replace_file(folder / f"{fingerprint}.json", content)
            self._prune(folder)

    def _prune(self, folder: Path) -> None:
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[: max(len(files) - self._max_files, 0)]:
            file.unlink(missing_ok=True)
