"""The architectures that have a description, found by a package walk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules

from ..errors import CompatibilityError, did_you_mean
from . import architectures as package
from .architecture import Architecture

__all__ = ["all_architectures", "detect_canonical", "get_architecture"]


@lru_cache(maxsize=1)
def all_architectures() -> tuple[Architecture, ...]:
    """Every described architecture, the most specific first; `generic` is the last."""
    found = [
        import_module(f"{package.__name__}.{module.name}").ARCHITECTURE
        for module in iter_modules(package.__path__)
        if not module.name.startswith("_")
    ]
    return tuple(sorted(found, key=lambda a: (-a.priority, a.name)))


def get_architecture(name: str) -> Architecture:
    """The architecture of that name; `CompatibilityError` lists the known ones."""
    for architecture in all_architectures():
        if architecture.name == name:
            return architecture
    described = sorted(a.name for a in all_architectures() if a.name != "generic")
    known = ["auto", "generic", *described]
    raise CompatibilityError(f'unknown architecture "{name}"', fix=did_you_mean(name, known))


def detect_canonical(shapes: Mapping[str, tuple[int, ...]]) -> Architecture:
    """The architecture of keys without prefix and diffusers names; `generic` if none fits."""
    return next(a for a in all_architectures() if a.fits(shapes))
