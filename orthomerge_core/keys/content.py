"""The content hash of a model's weights as a set uses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..io.hash_memo import HashMemo
from ..io.hashing import bytes_hash, content_hash
from ..progress import Progress
from .aligned import AlignedModel, AlignedSet
from .components import DIFFUSION, component_of

__all__ = [
    "diffusion_part",
    "model_content_hash",
    "model_digest",
    "recall_hashes",
    "remember_hashes",
]


def model_content_hash(
    model: AlignedModel, memo: HashMemo | None = None, progress: Progress | None = None
) -> str:
    """XXH3-128 over name, dtype, shape and stored bytes of every source tensor behind the segments.

    The same for a renamed file, and for a full checkpoint with these weights. What `memo` or the
    source itself already knows is not read; the rest is read once, a tensor at a time, and
    remembered.
    """
    progress = progress or Progress()
    source = model.source
    needed = list(dict.fromkeys(s.key for run in model.segments.values() for s in run))
    known = {**(memo.get(source.fingerprint()) if memo else {}), **source.tensor_hashes()}
    unread = [key for key in needed if key not in known]
    if unread:
        total = sum(source.entries[key].n_bytes for key in unread)
        progress.start(total, f"Reading {source.name} for its content hash")
    for key in unread:
        source.read_raw(key)
        progress.advance(source.entries[key].n_bytes)
    known.update(source.tensor_hashes())
    if memo:
        source.check_unchanged()
        memo.put(source.fingerprint(), {key: known[key] for key in needed})
    return content_hash(
        {
            name: (source.entries[key].dtype, source.entries[key].shape, known[key])
            for name, key in _named_parts(model)
        }
    )


def _named_parts(model: AlignedModel) -> Iterator[tuple[str, str]]:
    """A name for every source tensor: its canonical key, with the range where it is a part."""
    for name, segments in model.segments.items():
        for seg in segments:
            whole = len(segments) == 1 and not seg.start
            yield name if whole else f"{name} [{seg.start}:{seg.stop}] {seg.key}", seg.key


def diffusion_part(aligned: AlignedSet, model: AlignedModel) -> AlignedModel:
    """The model without its other components and without what a checkpoint holds beside them."""
    kept = {
        key: run
        for key, run in model.segments.items()
        if component_of(key) == DIFFUSION and key not in aligned.outside
    }
    return replace(model, segments=kept)


def model_digest(model: AlignedModel) -> str:
    """The file by its fingerprint, and which of its elements stand for which key; reads nothing."""
    runs = (f"{k} {[(s.key, s.start, s.stop) for s in run]}" for k, run in model.segments.items())
    return bytes_hash("\n".join([model.source.fingerprint(), *sorted(runs)]).encode())


def remember_hashes(model: AlignedModel, memo: HashMemo) -> None:
    """Store the hashes that reading left behind, so that the next content hash is free."""
    memo.put(model.source.fingerprint(), model.source.tensor_hashes())


def recall_hashes(models: Iterable[AlignedModel], memo: HashMemo | None) -> None:
    """Spare the models' files the hashing that an earlier read of them has done."""
    if memo is None:
        return
    for model in models:
        model.source.trust(memo.get(model.source.fingerprint()))
