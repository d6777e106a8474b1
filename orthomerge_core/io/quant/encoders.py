"""The output dtypes that quantize, by name: every `Encoder` in this package that has one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache

from .encoder import Encoder

__all__ = ["all_encoders", "encoder_named"]


@lru_cache(maxsize=1)
def all_encoders() -> Mapping[str, Encoder]:
    """Output dtype → encoder, found by walking this package; sorted by name."""
    package = importlib.import_module(__package__ or "")
    found: dict[str, Encoder] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, Encoder) and "output" in vars(item):
                found[item.output] = item()
    return dict(sorted(found.items()))


def encoder_named(output: str) -> Encoder | None:
    """The encoder of an output dtype; None for one that does not quantize."""
    return all_encoders().get(output)
