"""Where caches live on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["default_cache_dir"]


def default_cache_dir() -> Path:
    """The folder for everything that may be deleted at any time; it need not exist yet.

    `ORTHOMERGE_CACHE` if set; else `%LOCALAPPDATA%` on Windows, `~/Library/Caches` on macOS,
    `$XDG_CACHE_HOME` or `~/.cache` elsewhere, each with `orthomerge` below it.
    """
    chosen = os.environ.get("ORTHOMERGE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return _system_cache() / "orthomerge"


def _system_cache() -> Path:
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
