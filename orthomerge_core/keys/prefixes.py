"""Key prefixes: what wrappers and checkpoints add to the names of a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from .known import all_architectures, detect_canonical
from .markers import is_marker

__all__ = ["CHECKPOINT", "PREFIXES", "without_prefix", "without_wrappers", "wrapper_of"]

CHECKPOINT = "model.diffusion_model."

PREFIXES = (
    CHECKPOINT,
    "diffusion_model.",
    "model.model.",
    "module.",
    "transformer.",
    "model.",
    "unet.",
    "dit.",
    "net.",
)
"""Usual prefixes of a diffusion model's keys, tried in this order."""

_WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")

Shapes = Mapping[str, tuple[int, ...]]


def without_prefix(
    keys: Iterable[str], shapes: Shapes, known: Callable[[Shapes], bool] | None = None
) -> tuple[dict[str, str], str]:
    """File key → name without the common prefix, for the keys that carry it; and that prefix.

    Names that PyTorch's wrappers leave (`_orig_mod`, …) are taken out wherever they stand. Of an
    architecture that `known` recognizes, up to three prefixes are taken off. Of any other model one
    is, and only if it marks a checkpoint or every key has it: an inner module that happens to be
    called "model" or "transformer" keeps its name.
    """
    known = known or (lambda current: detect_canonical(current).name != "generic")
    plain = _without_wrappers(keys)
    names, taken = dict(plain), ""
    first: tuple[dict[str, str], str] | None = None
    for _ in range(3):
        current = {n: shapes[k] for k, n in names.items()}
        if known(current):
            return names, taken
        prefix = _next_prefix(current, known)
        if not prefix:
            break
        taken += prefix
        names = {
            key: name.removeprefix(prefix)
            for key, name in names.items()
            if name.startswith(prefix) or is_marker(name)
        }
        first = first or (names, taken)
    if known({n: shapes[k] for k, n in names.items()}):
        return names, taken
    return first or (plain, "")


def without_wrappers(key: str) -> str:
    """A key without the names that PyTorch's wrappers put into it."""
    return _WRAPPERS.sub("", key) or key


def wrapper_of(keys: Iterable[str]) -> str:
    """What a wrapper put before the keys of a whole checkpoint ("module.", "state_dict."), or "".

    A hundredth of the keys may be without it, such as a step counter beside the state.
    """
    keys = tuple(keys)
    example = next((k for k in keys if f".{CHECKPOINT}" in k and not k.startswith(CHECKPOINT)), "")
    outer = example[: example.find(f".{CHECKPOINT}") + 1]
    inner = {key.removeprefix(outer) for key in keys}
    bare = sum(not key.startswith(outer) for key in keys)
    return outer if len(inner) == len(keys) and bare <= 0.01 * len(keys) else ""


def _without_wrappers(keys: Iterable[str]) -> dict[str, str]:
    """Names without those of wrappers; a key whose place is taken keeps its own."""
    names = {}
    taken: set[str] = set()
    for key in keys:
        name = without_wrappers(key)
        name = key if name in taken else name
        names[key] = name
        taken.add(name)
    return names


def _next_prefix(current: Shapes, known: Callable[[Shapes], bool]) -> str:
    """The prefix to take off next, or "" if there is none."""
    extra = [p for a in all_architectures() for p in a.prefixes]
    counts = Counter(p for n in current for p in (*PREFIXES, *extra) if n.startswith(p))
    total = sum(not is_marker(n) or any(n.startswith(p) for p in PREFIXES) for n in current)
    for prefix in (*PREFIXES, *extra):
        if not counts[prefix]:
            continue
        rest = {n[len(prefix) :]: s for n, s in current.items() if n.startswith(prefix)}
        if prefix == CHECKPOINT or counts[prefix] == total or known(rest):
            return prefix
    return ""
