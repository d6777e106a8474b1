"""What is at a path, asked without an exception: a name that the system cannot have is nothing."""

from __future__ import annotations

from pathlib import Path

__all__ = ["is_file", "is_folder"]


def is_file(path: Path) -> bool:
    """Whether there is a file."""
    try:
        return path.is_file()
    except OSError:  # too long a name
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder."""
    try:
        return path.is_dir()
    except OSError:
        return False
