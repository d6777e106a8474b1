"""Results of earlier merges that still exist, so that none is computed twice.

A result is a MODEL of the graph or a file that was saved. Nothing here keeps a tensor alive: MODELs
are held by weak reference, files by name. Whoever stores a result again proves it by its hashes, so
that a MODEL which the host cast, or a file which somebody replaced, only costs the attempt.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..orthomerge_core.errors import OrthoMergeError
from ..orthomerge_core.execute.output.report import MergeReport
from ..orthomerge_core.execute.output.resave import Read
from ..orthomerge_core.io.reader import SafetensorsSource
from . import host

__all__ = ["Results"]


class Results:
    """Finished merges by `merge_identity`: a MODEL as long as it lives, and the last few files."""

    FILES = 8

    def __init__(self) -> None:
        self._models: dict[str, tuple[weakref.ref[Any], MergeReport]] = {}
        self._files: dict[str, tuple[Path, MergeReport]] = {}

    def add_model(self, identity: str, report: MergeReport, model: Any) -> None:
        """A merge is in memory as this MODEL. It is forgotten when the MODEL is."""
        gone = functools.partial(self._forget, identity)
        self._models[identity] = (weakref.ref(model, gone), report)

    def add_file(self, identity: str, report: MergeReport, path: Path) -> None:
        """A merge lies on the disk."""
        self._files.pop(identity, None)
        self._files[identity] = (path, report)
        while len(self._files) > self.FILES:
            del self._files[next(iter(self._files))]

    @contextmanager
    def find(self, identity: str) -> Iterator[tuple[MergeReport, Read] | None]:
        """Report and tensors of a merge that is still there: the MODEL, else the file."""
        reference, report = self._models.get(identity, (None, None))
        model = reference() if reference is not None else None
        if model is not None and report is not None:
            yield report, functools.partial(host.stored_weight, model)
            return
        source = self._opened(identity)
        if source is None:
            yield None
            return
        with source:
            yield self._files[identity][1], functools.partial(_stored, source)

    def _opened(self, identity: str) -> SafetensorsSource | None:
        if identity not in self._files:
            return None
        try:
            return SafetensorsSource(self._files[identity][0])
        except OrthoMergeError:  # moved, deleted or replaced by something else
            del self._files[identity]
            return None

    def _forget(self, identity: str, gone: weakref.ref[Any]) -> None:
        if self._models.get(identity, (None, None))[0] is gone:
            del self._models[identity]


def _stored(source: SafetensorsSource, key: str) -> Any:
    return source.read_raw(key) if key in source.entries else None
