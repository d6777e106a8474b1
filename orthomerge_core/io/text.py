"""Reads text files that a person named."""

from __future__ import annotations

from pathlib import Path

from ..errors import FileError
from .rawfile import explain_os_error

__all__ = ["read_text", "shown"]


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        FileError: it cannot be read; `what` says what was expected in it.
    """
    name = f'"{shown(path)}"'
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileError(f"{name} does not exist", fix="Check the name and the folder.") from None
    except IsADirectoryError:
        fix = "Name the files in it."
        raise FileError(f"{name} is a folder", expected=what, fix=fix) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else None
        raise FileError(
            f"{name} cannot be read as text",
            expected=what,
            received=reason,
            fix="Choose another file.",
        ) from None


def shown(path: Path) -> str:
    """What messages call a file or folder: its name, never the way to it."""
    return path.name or "."
