"""Verifies a merged file: reads and hashes all of it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import OrthoMergeError
from ...io.bytesource import ByteSource
from ...io.gguf import GgufSource
from ...io.hashing import content_hash
from ...io.reader import SafetensorsSource
from ...progress import Progress
from ...recipe import codec
from ...recipe.model import Recipe
from .provenance import CONTENT_HASH, VERSION, recipe_from_metadata

__all__ = ["VerifyReport", "verify_file"]


@dataclass(frozen=True)
class VerifyReport:
    """`ok` tells whether the tensors have the hash that the header promises.

    `recipe` is None where the header holds none (saved without metadata), or none that is readable.
    """

    file: str
    ok: bool
    expected: str | None
    computed: str
    tensors: int
    version: str | None = None
    recipe: Recipe | None = None

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.expected is None:
            return f'"{self.file}" holds no content hash: it was not merged here.'
        if self.ok:
            return f'"{self.file}" holds exactly what was merged ({self.computed}).'
        return (
            f'"{self.file}" was changed after it was merged: '
            f"expected {self.expected}, received {self.computed}."
        )

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        recipe = codec.to_json(self.recipe) if self.recipe else None
        return {**vars(self), "recipe": recipe, "verdict": self.verdict}


def verify_file(path: Path, progress: Progress | None = None) -> VerifyReport:
    """Compute the content hash of a file and compare it with its header's.

    Reads the file once, a tensor at a time. Raises `FileError` where it cannot be read.
    """
    progress = progress or Progress()
    with _opened(path) as source:
        total = sum(entry.n_bytes for entry in source.entries.values())
        progress.start(total, f"Verifying {source.name}")
        items = {}
        for key, entry in source.entries.items():
            source.read_raw(key)
            items[key] = (entry.dtype, entry.shape, source.tensor_hashes()[key])
            progress.advance(entry.n_bytes)
        source.check_unchanged()
        computed, expected = content_hash(items), source.metadata.get(CONTENT_HASH)
        try:
            recipe = recipe_from_metadata(source.metadata, source.name)
        except OrthoMergeError:
            recipe = None
        return VerifyReport(
            file=source.name,
            ok=computed == expected,
            expected=expected,
            computed=computed,
            tensors=len(items),
            version=source.metadata.get(VERSION),
            recipe=recipe,
        )


def _opened(path: Path) -> ByteSource:
    """The stored bytes of a merged file."""
    return GgufSource(path) if path.suffix.lower() == ".gguf" else SafetensorsSource(path)
