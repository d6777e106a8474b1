"""The reading plan of a pass: how many bytes, and which keys must stay on one thread."""

from __future__ import annotations

from .aligned import AlignedModel, AlignedSet

__all__ = ["key_bytes", "key_groups", "total_bytes"]


def key_groups(aligned: AlignedSet) -> list[list[int]]:
    """Key indices in order, grouped so that no two groups read the same source tensor.

    A source reads one of its tensors at a time, and from its start to its end where it can, so that
    its hash comes for free: keys cut from one tensor must stay on one thread and in order.
    """
    home = list(range(len(aligned.keys)))

    def root(index: int) -> int:
        while home[index] != index:
            home[index] = home[home[index]]
            index = home[index]
        return index

    first: dict[tuple[int, str], int] = {}
    for index, key in enumerate(aligned.keys):
        for number, model in enumerate((aligned.base, *aligned.models)):
            for segment in model.segments.get(key, ()):
                other = root(first.setdefault((number, segment.key), index))
                mine = root(index)
                home[max(mine, other)] = min(mine, other)
    groups: dict[int, list[int]] = {}
    for index in range(len(aligned.keys)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def key_bytes(model: AlignedModel, key: str) -> float:
    """Bytes behind a canonical key; a share of the entry where it is cut from a larger tensor."""
    total = 0.0
    for segment in model.segments[key]:
        entry = model.source.entries[segment.key]
        total += entry.n_bytes * (segment.stop - segment.start) / max(1, entry.numel)
    return total


def total_bytes(aligned: AlignedSet) -> float:
    """Bytes that one pass over a set reads."""
    models = (aligned.base, *aligned.models)
    return sum(key_bytes(m, key) for key in aligned.keys for m in models if m.has(key))
