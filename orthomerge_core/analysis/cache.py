"""Analyses cached on disk under their files' fingerprints; a repeat run reads no weights.

One entry is one file: a line of JSON that says what it is about and the hash of the rest, then the
analysis as JSON. A set that is part of an analyzed set is answered from that one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import AnalysisError
from ..io.cache_folder import CacheFolder
from ..io.hash_memo import HashMemo
from ..io.hashing import bytes_hash
from ..keys.aligned import AlignedModel, AlignedSet
from ..keys.content import model_digest
from ..progress import Progress
from ..recipe.model import BASE
from .codec import dumps, from_json
from .extend import extend
from .result import Analysis
from .select import select
from .spectrum import Energies, sample_keys
from .stream import analyze

__all__ = ["AnalysisCache", "analyze_cached"]

_log = logging.getLogger(__name__)
_SUFFIX = ".analysis.json"
_VERSION = 3


@dataclass(frozen=True)
class _Request:
    """What decides an analysis: the layout of the base, the models by content, the sampled keys."""

    layout: str
    spectra: tuple[str, ...]
    models: tuple[str, ...]

    def name(self) -> str:
        """The same for the same models in any order."""
        return _digest([self.layout, *self.spectra, "|", *sorted(self.models)])

    def about(self) -> dict[str, Any]:
        """What an entry says of itself."""
        return {"version": _VERSION, **vars(self)}


class AnalysisCache:
    """A folder of analyses, trimmed to `max_bytes` by dropping what was not used for longest.

    A folder that cannot be written is logged and otherwise does no harm; a damaged entry is removed
    and made again. A request is answered only if every file's fingerprint is the same.
    """

    def __init__(self, folder: Path, max_bytes: int = 256 << 20) -> None:
        self._entries = CacheFolder(folder, _SUFFIX, max_bytes)

    def get(self, aligned: AlignedSet, rank_samples: int) -> Analysis | None:
        """The analysis of this set, or None."""
        request = _request(aligned, rank_samples)
        exact = self._entries.path(request.name())
        paths = [exact, *(p for p in self._entries.paths() if p != exact)]
        for path, stored in self._over(paths, request):
            if stored.spectra != request.spectra or not set(request.models) <= set(stored.models):
                continue
            analysis = self._read(path)
            if analysis is not None and len(analysis.names) == len(stored.models):
                picked = [stored.models.index(m) for m in request.models]
                return _named(select(analysis, picked), aligned, aligned.models)
        return None

    def put(self, aligned: AlignedSet, rank_samples: int, analysis: Analysis) -> None:
        """Keep an analysis of this set."""
        request = _request(aligned, rank_samples)
        payload = dumps(analysis).encode()
        try:
            self._entries.put(request.name(), request.about(), payload)
        except OSError as error:
            _log.warning("The analysis could not be cached (%s).", error.strerror)

    def nearest(self, aligned: AlignedSet) -> Analysis | None:
        """The stored analysis over the same base that knows most models of this set, as the
        analysis of those, under their names here; None where none knows any."""
        request = _request(aligned, 0)
        known = dict(self._over(self._entries.paths(), request))
        shared = {p: sum(m in s.models for m in request.models) for p, s in known.items()}
        for path in sorted(shared, key=lambda p: -shared[p]):  # stable: the last used first
            analysis = self._read(path) if shared[path] else None
            if analysis is None or len(analysis.names) != len(known[path].models):
                continue
            stored, digests = known[path].models, request.models
            held = [m for m, d in zip(aligned.models, digests, strict=True) if d in stored]
            rows = [stored.index(d) for d in digests if d in stored]
            return _named(select(analysis, rows), aligned, held)
        return None

    def spectra(self, aligned: AlignedSet) -> dict[str, dict[str, Energies]]:
        """Spectra of this set's models from analyses of other sets: name → key → energies."""
        request = _request(aligned, 0)
        found: dict[str, dict[str, Energies]] = {m.name: {} for m in aligned.models}
        for path, stored in self._over(self._entries.paths(), request):
            analysis = self._read(path) if set(stored.models) & set(request.models) else None
            for model, digest in zip(aligned.models, request.models, strict=True):
                if analysis is not None and digest in stored.models:
                    row = stored.models.index(digest)
                    held = {s.key: s.energies[row] for s in analysis.spectra}
                    found[model.name] = held | found[model.name]
        return found

    def clear(self) -> int:
        """Remove every entry; how many there were."""
        paths = self._entries.paths()
        for path in paths:
            self._entries.remove(path)
        return len(paths)

    def _over(self, paths: list[Path], request: _Request) -> Iterator[tuple[Path, _Request]]:
        """Entries over the same base and keys."""
        for path in paths:
            stored = _stored_request(self._entries.about(path))
            if stored and stored.layout == request.layout:
                yield path, stored

    def _read(self, path: Path) -> Analysis | None:
        """An entry's analysis; a damaged entry is removed."""
        payload = self._entries.payload(path)
        if payload is None:
            return None
        try:
            return from_json(json.loads(payload))
        except (AnalysisError, ValueError, KeyError, TypeError):
            self._entries.remove(path)
            return None


def analyze_cached(
    aligned: AlignedSet,
    cache: AnalysisCache | None,
    *,
    rank_samples: int = 5,
    memo: HashMemo | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Analysis:
    """`analyze`, answered from `cache` where the files are those of an earlier run.

    Where some of a set's models were analyzed before over the same base, in whatever set, only what
    involves the new ones is made (`extend`). `options` go to `analyze`.
    """
    options |= {"rank_samples": rank_samples, "memo": memo, "progress": progress}
    if cache is None:
        return analyze(aligned, **options)
    found = cache.get(aligned, rank_samples)
    if found is not None:
        if progress:
            progress.note("These files were analyzed before; nothing is read.")
        return found
    known = cache.nearest(aligned)
    if known is None:
        made = analyze(aligned, **options)
    else:
        if progress:
            progress.note(_plan(known.names, [m.name for m in aligned.models]))
        made = extend(aligned, known, known_spectra=cache.spectra(aligned), **options)
    cache.put(aligned, rank_samples, made)
    return made


def _plan(known: Sequence[str], names: Sequence[str]) -> str:
    """One sentence on what is about to be read."""
    new = [name for name in names if name not in known]
    if not new:
        return "These files were analyzed before; only further spectra are made."
    return (
        f"{', '.join(known)}: known from an earlier analysis. The base and {', '.join(new)} are "
        "read, and of the known models only what lies beside their changes."
    )


def _request(aligned: AlignedSet, rank_samples: int) -> _Request:
    kinds = aligned.architecture
    keys = [f"{k} {aligned.shapes[k]} {kinds.block(k)} {kinds.layer_type(k)}" for k in aligned.keys]
    return _Request(
        layout=_digest([str(_VERSION), kinds.name, model_digest(aligned.base), *keys]),
        spectra=sample_keys(aligned, rank_samples),
        models=tuple(model_digest(m) for m in aligned.models),
    )


def _digest(lines: list[str]) -> str:
    return bytes_hash("\n".join(lines).encode())


def _named(analysis: Analysis, aligned: AlignedSet, models: Sequence[AlignedModel]) -> Analysis:
    """The analysis under the names, files and reports that these models have in this set."""
    names = tuple(m.name for m in models)
    hashes = analysis.content_hashes
    return replace(
        analysis,
        base=aligned.base.report.file,
        names=names,
        files=tuple(m.report.file for m in models),
        content_hashes={BASE: hashes.get(BASE, "")}
        | {new: hashes.get(old, "") for new, old in zip(names, analysis.names, strict=True)},
        reports=tuple(r.to_json() for r in (*(m.report for m in models), *aligned.skipped)),
    )


def _stored_request(about: Mapping[str, Any]) -> _Request | None:
    """What an entry says it is about; None where its first line is not one of ours."""
    try:
        if about["version"] != _VERSION:
            return None
        spectra, models = tuple(about["spectra"]), tuple(map(str, about["models"]))
        return _Request(str(about["layout"]), spectra, models)
    except (KeyError, TypeError):
        return None
