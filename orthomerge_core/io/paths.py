"""Checks of paths that never raise, and suggestions for file names.

A name that the system cannot have is nothing, not an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

__all__ = ["did_you_mean_file", "is_file", "is_folder"]

_ALIKE, _LONGEST_NAME = 0.6, 200


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


def did_you_mean_file(
    wanted: str, known: Sequence[str], *, none_known: str = "", none_near: str = ""
) -> str:
    """Up to three names that may have been meant, likeliest first, as a sentence.

    The same file name in another folder comes first. After it, names rank by how alike their stems
    are (0 to 1, at least 0.6), with 0.2 more in the folder that was asked for.

    Args:
        wanted, known: names with `/` between folders.
        none_known: the sentence where there is no file at all; none_near: where none is alike.
    """
    if not known:
        return none_known
    folder, stem = _split(wanted)
    asked = f"{stem}.{wanted.rpartition('.')[2]}"
    alike = SequenceMatcher(b=stem.lower()[:_LONGEST_NAME], autojunk=False)
    ranked: list[tuple[float, str]] = []
    for name in known:
        other_folder, other_stem = _split(name)
        alike.set_seq1(other_stem.lower()[:_LONGEST_NAME])
        ratio = alike.ratio() if alike.quick_ratio() >= _ALIKE else 0.0
        if name.endswith(asked) and other_stem == stem:
            ratio = 2.0
        if ratio >= _ALIKE:
            ranked.append((ratio + (0.2 if other_folder == folder else 0.0), name))
    best = [name for _, name in sorted(ranked, key=lambda pair: (-pair[0], pair[1]))[:3]]
    if not best:
        return none_near
    return f"Did you mean {' or '.join(chr(34) + name + chr(34) for name in best)}?"


def _split(name: str) -> tuple[str, str]:
    """Folder and stem of a name."""
    folder, _, leaf = name.rpartition("/")
    return folder, leaf.rpartition(".")[0] or leaf
