"""Caches the expensive half of a method on disk, so that changing alpha costs a fraction."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ..errors import FileError, WriteError
from ..io.dtypes import dtype_of
from ..io.hashing import bytes_hash, content_hash, tensor_hash
from ..io.reader import SafetensorsSource
from ..io.temp import remove_stale
from ..io.writer import SafetensorsWriter
from ..keys.aligned import AlignedModel
from ..methods.contract import DecomposedMethod
from .plan.model import Plan, TensorPlan

__all__ = ["DEFAULT_BUDGET_BYTES", "DecompositionCache", "decomposition_key"]

DEFAULT_BUDGET_BYTES = 24 << 30
_HASH = "orthomerge.hash"
_VERSION = 3


class DecompositionCache:
    """Parts of a decomposition as safetensors files, oldest use out first above the byte budget.

    It is a cache: an entry that is missing, damaged or of another version counts as unknown and is
    removed; what cannot be written is not kept. Several threads and processes may share a folder.

    Args:
        folder: made when first written to.
        max_bytes: the budget; 0 keeps nothing.
    """

    def __init__(self, folder: Path, max_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.hits = self.misses = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The parts kept under this key, or None."""
        path = self._path(key)
        try:
            with SafetensorsSource(path) as source:
                parts = {name: source.read_raw(name) for name in source.entries}
                intact = source.metadata.get(_HASH) == _entry_hash(key, parts)
        except (FileError, OSError):
            parts, intact = {}, False
        if not intact:
            self._remove(path)
            with self._lock:
                self.misses += 1
            return None
        with suppress(OSError):  # a folder that can only be read serves as well
            os.utime(path)
        with self._lock:
            self.hits += 1
        return parts

    def put(self, key: str, parts: Mapping[str, Tensor]) -> None:
        """Keep parts, then remove what exceeds the budget, longest unused first."""
        size = sum(part.numel() * part.element_size() for part in parts.values())
        if size > self.max_bytes:
            return
        tensors = {name: part.detach().cpu().contiguous() for name, part in parts.items()}
        layout = {name: (dtype_of(t), tuple(t.shape)) for name, t in tensors.items()}
        metadata = {_HASH: _entry_hash(key, tensors)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self._path(key)
            with SafetensorsWriter(path, layout, metadata, overwrite=True) as writer:
                for name, tensor in tensors.items():
                    writer.write(name, tensor)
                writer.finish()
            self.prune()
        except (WriteError, OSError):
            return

    def prune(self) -> None:
        """Remove the longest unused entries until the budget holds, and unfinished ones."""
        remove_stale(self.folder)
        entries = []
        for path in self.folder.glob("*.safetensors"):
            try:
                stat = path.stat()
            except OSError:
                continue
            entries.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.max_bytes:
                return
            self._remove(path)
            total -= size

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    @staticmethod
    def _remove(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return


def decomposition_key(
    plan: Plan, method: DecomposedMethod, tensor: TensorPlan, rows: Sequence[int]
) -> str:
    """XXH3-128 of what a decomposition depends on: contents of base and deltas, and the options.

    The sources must have been read for this tensor, so that its hashes are known; a tensor behind
    which a hash is missing gets a key that never comes again.
    """
    base = _identity(plan.aligned.base, tensor.key)
    contents = [_identity(model, tensor.key) for model in plan.models]
    deltas = [
        [base if i < 0 else contents[i] for i in (plan.rows[r].model, plan.rows[r].parent)]
        for r in rows
    ]
    body = {
        "version": _VERSION,
        "method": method.name,
        "torch": torch.__version__,
        "shape": tensor.shape,
        "base": base,
        "deltas": deltas,
        "options": {name: plan.options[name] for name in method.decompose_params},
    }
    return bytes_hash(json.dumps(body, sort_keys=True).encode())


def _identity(model: AlignedModel, key: str) -> str:
    if not model.has(key):
        return "missing"
    hashes = model.source.tensor_hashes()
    parts = [
        (hashes.get(s.key) or secrets.token_hex(16), s.start, s.stop) for s in model.segments[key]
    ]
    return json.dumps(parts)


def _entry_hash(key: str, parts: Mapping[str, Tensor]) -> str:
    """Hash of key, names, dtypes, shapes and bytes; an entry under another name does not match."""
    items = {n: (dtype_of(t), tuple(t.shape), tensor_hash(t)) for n, t in parts.items()}
    return bytes_hash(f"{key} {content_hash(items)}".encode())
