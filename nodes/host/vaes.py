"""Files that give a VAE: those of the folder for VAEs, and checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

from ...orthomerge_core import errors
from ...orthomerge_core.io.paths import did_you_mean_file
from .files import fingerprint, names, resolve

__all__ = ["resolve_vae", "vae_fingerprint", "vae_names"]

FOLDER, SUFFIXES = "vae", (".safetensors", ".sft")


def vae_names() -> list[str]:
    """The files of the folder for VAEs that a merge can read, sorted; names use `/`."""
    import folder_paths

    if FOLDER not in folder_paths.folder_names_and_paths:
        return []
    shown = (name.replace(os.sep, "/") for name in folder_paths.get_filename_list(FOLDER))
    return sorted(n for n in shown if errors.is_showable(n) and n.lower().endswith(SUFFIXES))


def resolve_vae(name: str) -> Path:
    """The file behind a name of `vae_names`, or else of `names`: checkpoints hold VAEs too.

    Raises: FileError with the nearest names where there is none.
    """
    import folder_paths

    wanted, there = name.strip().replace("\\", "/"), vae_names()
    if wanted in there:
        path = folder_paths.get_full_path(FOLDER, wanted.replace("/", os.sep))
        if path is not None:
            return Path(path)
    if wanted in names() and wanted.lower().endswith(SUFFIXES):
        return resolve(wanted)
    raise errors.FileError(
        f'no VAE "{wanted}" in the folders for VAEs and checkpoints',
        fix=did_you_mean_file(
            wanted,
            there,
            none_known="Put it into models/vae first.",
            none_near="Refresh the model lists (R) if the file is new.",
        ),
    )


def vae_fingerprint(name: str) -> str:
    """As `fingerprint`, of the file that gives the VAE."""
    return fingerprint([name], resolve_vae)
