"""How fast this machine merges, learned from its earlier merges."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

from ...io.cache_folder import CacheFolder

__all__ = ["Pace"]

_SUFFIX = ".pace"
_MAX_BYTES = 1 << 20
_LEAST_SECONDS = 0.2
"""Of shorter merges most of the time is not the merge's."""
_MEMORY = 4
"""A new merge counts as one of the last so many."""


class Pace:
    """Seconds that merges took over the seconds that plans stated, by method and device.

    The factor is the geometric mean of the merges so far, in which recent ones count more. It lives
    in `folder`; None keeps nothing. It is a cache: what is missing, damaged or unwritable counts as
    unknown.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else CacheFolder(folder, _SUFFIX, _MAX_BYTES)

    def factor(self, method: str, device: str = "cpu") -> float:
        """What stated seconds are to be multiplied by; 1 as long as nothing is known."""
        return math.exp(self._known(method, device)[0])

    def learn(self, method: str, device: str, stated_s: float, taken_s: float) -> None:
        """Count one merge: `stated_s` at the common pace, before any factor."""
        if self._folder is None or taken_s < _LEAST_SECONDS or stated_s <= 0.0:
            return
        before, count = self._known(method, device)
        weight = 1.0 / min(count + 1, _MEMORY)
        log = before + weight * (math.log(taken_s / stated_s) - before)
        payload = json.dumps({"log": log, "count": min(count + 1, _MEMORY)}).encode()
        with suppress(OSError):
            self._folder.put(_key(method, device), {}, payload)

    def _known(self, method: str, device: str) -> tuple[float, int]:
        payload = None if self._folder is None else self._folder.get(_key(method, device))
        if payload is None:
            return 0.0, 0
        try:
            found = json.loads(payload)
            log, count = float(found["log"]), int(found["count"])
        except (ValueError, RecursionError, KeyError, TypeError):
            return 0.0, 0
        return (log, count) if math.isfinite(log) and abs(log) < 10 and count > 0 else (0.0, 0)


def _key(method: str, device: str) -> str:
    return f"{method}-{device.replace(':', '-')}"
