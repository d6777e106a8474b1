"""Random numbers of a merge: one generator per tensor."""

from __future__ import annotations

import torch

from ..io.hashing import bytes_hash

__all__ = ["key_generator"]


def key_generator(key: str, seed: int) -> torch.Generator:
    """Random numbers that depend on the tensor's name and the seed alone, not on the order."""
    digest = bytes_hash(f"{seed}:{key}".encode())
    return torch.Generator().manual_seed(int(digest[:15], 16))
