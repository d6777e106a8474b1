"""The list of quantisation schemes: a module in this package that uses `@register` is on it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache

from ...errors import UnsupportedError, did_you_mean
from .contract import LayerSpec, QuantLayer

__all__ = ["all_schemes", "make_layer", "register"]


def register(scheme: type[QuantLayer]) -> type[QuantLayer]:
    """Class decorator: mark a finished scheme for the package walk."""
    scheme.registered = True  # type: ignore[attr-defined]  # a mark, not part of the interface
    return scheme


@lru_cache(maxsize=1)
def all_schemes() -> Mapping[str, type[QuantLayer]]:
    """format name in files → scheme, found by walking this package; sorted by name."""
    package = importlib.import_module(__package__ or "")
    found: dict[str, type[QuantLayer]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for item in vars(module).values():
            if not isinstance(item, type) or not issubclass(item, QuantLayer):
                continue
            if item.__dict__.get("registered"):
                found.update(dict.fromkeys(item.formats, item))
    return dict(sorted(found.items()))


def make_layer(spec: LayerSpec) -> QuantLayer:
    """The checked layer, or `UnsupportedError` for a format that nobody registered."""
    schemes = all_schemes()
    if spec.format not in schemes:
        near = did_you_mean(spec.format, tuple(schemes))
        raise UnsupportedError(
            f'layer "{spec.layer}" in "{spec.file}" has the unknown quantisation "{spec.format}"',
            fix=f"{near} Or use the BF16 version of this model.",
        )
    return schemes[spec.format](spec)
