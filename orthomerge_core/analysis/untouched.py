"""Finds tensors that are byte for byte the base's, without reading them."""

from __future__ import annotations

from ..io.hash_memo import HashMemo
from ..keys.aligned import AlignedModel

__all__ = ["untouched_keys"]


def untouched_keys(base: AlignedModel, model: AlignedModel, memo: HashMemo | None) -> set[str]:
    """Canonical keys whose stored bytes are the base's, as far as hashes from earlier reads tell.

    Only whole tensors stored plainly in the same dtype are compared; nothing is read.
    """
    ours, theirs = _whole_tensors(model, memo), _whole_tensors(base, memo)
    return {key for key, stored in ours.items() if theirs.get(key) == stored}


def _whole_tensors(model: AlignedModel, memo: HashMemo | None) -> dict[str, tuple[str, str, int]]:
    """Key → dtype, hash and size of what is one whole plain tensor of its file, where known."""
    source = model.source
    hashes = {**(memo.get(source.fingerprint()) if memo else {}), **source.tensor_hashes()}
    found = {}
    for key, run in model.segments.items():
        entry = source.entries[run[0].key]
        whole = len(run) == 1 and (run[0].start, run[0].stop) == (0, entry.numel)
        if whole and entry.quant is None and run[0].key in hashes:
            found[key] = (entry.dtype, hashes[run[0].key], entry.numel)
    return found
