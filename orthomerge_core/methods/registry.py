"""The list of merge methods: a module in this package that uses `@register` is on it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache

from ..errors import RecipeError, did_you_mean
from ..recipe.model import DEFAULT_METHOD
from .contract import Method

__all__ = ["DEFAULT_METHOD", "all_methods", "get_method", "register"]


def register(method: type[Method]) -> type[Method]:
    """Class decorator: mark a finished method for the package walk."""
    method.registered = True  # type: ignore[attr-defined]  # a mark, not part of the interface
    return method


@lru_cache(maxsize=1)
def all_methods() -> Mapping[str, Method]:
    """name → method, found by walking this package; sorted by name."""
    package = importlib.import_module(__package__ or "")
    found: dict[str, Method] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, Method) and "registered" in vars(item):
                found[item.name] = item()
    return dict(sorted(found.items()))


def get_method(name: str) -> Method:
    """The method of that name, or `RecipeError` listing what is valid."""
    methods = all_methods()
    if name not in methods:
        raise RecipeError(f'unknown method "{name}"', fix=did_you_mean(name, tuple(methods)))
    return methods[name]
