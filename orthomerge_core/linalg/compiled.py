"""Loads the compiled inner loops of `loops.py`, if the optional numba is installed."""

from __future__ import annotations

import importlib.util
import sys
import threading
from functools import lru_cache
from pathlib import Path
from types import ModuleType

__all__ = ["BLOCK", "KINDS", "WORTH_COMPILING_BYTES", "can_compile", "loops"]

BLOCK = 1024
"""Columns that are summed at a time: `loops.BLOCK`, which cannot be asked without numba."""

KINDS = {"BF16": 0, "F16": 1}
"""Stored dtypes that compiled code widens itself → their number in `loops`."""

WORTH_COMPILING_BYTES = 2_000_000_000
"""Of less, compiled code saves no more time than it takes to load, half a second."""

_NAME = "_orthomerge_loops"

_LOADING = threading.Lock()
"""A call that was stopped may still be loading when the next one asks."""


def can_compile() -> bool:
    """Whether numba is installed; imports nothing."""
    return importlib.util.find_spec("numba") is not None


def loops() -> ModuleType | None:
    """The functions of `loops.py`; None without numba, or without one that fits this NumPy.

    A function is compiled when it is first called, which takes some seconds; later processes find
    it on the disk, in numba's own cache beside the file, or in the user's folder for caches.
    """
    with _LOADING:
        return _load()


@lru_cache(maxsize=1)
def _load() -> ModuleType | None:
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name("loops.py"))
    assert spec is not None and spec.loader is not None  # noqa: S101  # a file has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, RuntimeError):  # no numba; no folder for its cache
        del sys.modules[_NAME]
        return None
    return module
