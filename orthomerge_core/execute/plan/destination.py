"""Checks whether a result can be stored at its target."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

from ...errors import OrthoMergeError, WriteError, is_showable, quoted
from ...keys.setspec import SetSpec

__all__ = ["free_bytes", "room_problems", "target_problems"]


_MIB = 1 << 20


def target_problems(
    target: Path, spec: SetSpec, overwrite: bool, *, gguf: bool = False
) -> list[OrthoMergeError]:
    """What stands in the way of writing `target`, apart from room on the disk.

    `gguf`: the output dtype is that of a GGUF file.
    """
    name, folder = target.name, target.parent
    if not is_showable(name):
        what = f'"{quoted(name)}" is not a usable name for a file'
        return [WriteError(what, received="not UTF-8, or control characters", fix="Rename it.")]
    if not folder.is_dir():
        return [WriteError(f'the folder for "{name}" does not exist', fix="Create it first.")]
    if target.is_dir():
        return [WriteError(f'"{name}" is a folder', fix="Give the result a file name.")]
    endings = (".gguf",) if gguf else (".safetensors", ".sft")
    if target.suffix not in endings:
        received = target.suffix or "no ending"
        fix = (
            "The output dtype makes a GGUF file." if gguf else "Only safetensors files are written."
        )
        what = f'"{name}" has the wrong ending'
        return [WriteError(what, expected=endings[0], received=received, fix=fix)]
    if not os.access(folder, os.W_OK):
        fix = "Choose a folder that you may write to."
        return [WriteError(f'the folder for "{name}" is read-only', fix=fix)]
    sources = [m.path for m in (spec.base, *spec.models) if m.path is not None]
    if target.exists() and any(path.exists() and path.samefile(target) for path in sources):
        fix = "Choose another name."
        return [WriteError(f'"{name}" is one of the models that are merged', fix=fix)]
    if target.exists() and not overwrite:
        fix = "Choose another name, or allow overwriting."
        return [WriteError(f'"{name}" exists already', fix=fix)]
    return []


def room_problems(target: Path, output_bytes: int) -> list[OrthoMergeError]:
    """A disk with less room than the result takes; the file it replaces goes only afterwards."""
    free = free_bytes(target)
    if free is None or free >= output_bytes:
        return []
    error = WriteError(
        f'not enough room on the disk for "{target.name}"',
        expected=f"{math.ceil(output_bytes / _MIB)} MiB",
        received=f"{math.floor(free / _MIB)} MiB free",
        fix="Free some space, choose another folder, or a smaller output dtype.",
    )
    return [error]


def free_bytes(target: Path) -> int | None:
    """Free bytes on the target's disk; None where that is unknown."""
    try:
        return shutil.disk_usage(target.parent).free
    except OSError:
        return None
