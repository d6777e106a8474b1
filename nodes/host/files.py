"""Names and folders: what may be read, and where results and caches go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ...orthomerge_core import errors
from ...orthomerge_core.io.opening import is_readable_name

__all__ = [
    "ModelFolders",
    "cache_dir",
    "fingerprint",
    "metadata_allowed",
    "names",
    "output_folder",
    "output_target",
    "readable_names",
    "resolve",
    "siblings",
]

FOLDERS = ("diffusion_models", "checkpoints", "unet_gguf", "orthomerge_gguf")
GGUF, OWN_GGUF = FOLDERS[2:]  # the pack that loads GGUF registers the first; without it, the second


def names() -> dict[str, tuple[str, str]]:
    """Shown name → (folder key, the host's name) of every file in the registered weight folders.

    Shown names use `/` on every system. A name that an earlier folder already has is shown as
    `folder:name`.
    """
    import folder_paths

    found: dict[str, tuple[str, str]] = {}
    _register_gguf(folder_paths.folder_names_and_paths)
    for folder in FOLDERS:
        if folder not in folder_paths.folder_names_and_paths:
            continue
        for name in folder_paths.get_filename_list(folder):
            shown = name.replace(os.sep, "/")
            if not errors.is_showable(shown):
                continue  # no recipe can hold such a name; `resolve` says so
            found[f"{folder}:{shown}" if shown in found else shown] = (folder, name)
    return found


def _register_gguf(known: dict[str, tuple[list[str], set[str]]]) -> None:
    """List the .gguf files in diffusion_models, which the host's own filter hides."""
    if GGUF in known:
        known.pop(OWN_GGUF, None)
    elif OWN_GGUF not in known and "diffusion_models" in known:
        known[OWN_GGUF] = (known["diffusion_models"][0], {".gguf"})


def readable_names() -> list[str]:
    """What a list offers: the names of files that can be read as weights, sorted."""
    return sorted(name for name in names() if is_readable_name(name))


def resolve(name: str) -> Path:
    """The file behind a shown name. Only names that a registered folder lists can be opened.

    Raises: FileError with the nearest names where there is none.
    """
    import folder_paths

    known = names()
    wanted = name.strip().replace("\\", "/")
    for folder in FOLDERS:
        if wanted not in known and wanted.startswith(f"{folder}:"):
            wanted = wanted[len(folder) + 1 :]
    if wanted not in known and not errors.is_showable(wanted):
        raise errors.FileError(
            f'the file name "{errors.quoted(wanted)}" holds characters that cannot be shown',
            received="not UTF-8, or control characters",
            fix="Rename the file.",
        )
    if wanted not in known:
        raise errors.FileError(
            f'no model file "{name.strip()}" in the model folders',
            fix=_near(wanted, [n for n in known if is_readable_name(n)]),
        )
    path = folder_paths.get_full_path(*known[wanted])
    if path is None:
        raise errors.FileChangedError(
            f'"{wanted}" is listed but no longer there',
            fix="Refresh the model lists (R) and choose it again.",
        )
    return Path(path)


class ModelFolders:
    """The registered folders, for a recipe that looks for its files; see `execute.plan.renamed`."""

    def __call__(self, file: str) -> Path:
        """As `resolve`."""
        return resolve(file)

    def candidates(self) -> list[Path]:
        """Every readable model file, each once."""
        return list({resolve(name): None for name in readable_names()})


def _near(wanted: str, known: Sequence[str]) -> str:
    """Near misses; a bare file name finds the same file in a sub-folder first."""
    tails = [n for n in known if n.rsplit("/", 1)[-1] == wanted.rsplit("/", 1)[-1]]
    if tails:
        return f'Did you mean "{tails[0]}"? '.strip()
    if not known:
        return "Put weights into models/diffusion_models or models/checkpoints first."
    return errors.did_you_mean(wanted, list(known))


def siblings(name: str) -> list[str]:
    """Readable files of the same registered folder and sub-folder as `name`, without it."""
    known = names()
    path = resolve(name)
    folder = next((_home(f) for n, (f, _) in known.items() if n == name), None)
    head = name.rsplit("/", 1)[0] + "/" if "/" in name else ""
    return sorted(
        other
        for other, (where, _) in known.items()
        if _home(where) == folder
        and is_readable_name(other)
        and other.startswith(head)
        and "/" not in other[len(head) :]
        and resolve(other) != path
    )


def _home(folder: str) -> str:
    """GGUF files lie among the others, whatever key the host lists them under."""
    return "diffusion_models" if folder in (GGUF, OWN_GGUF) else folder


def fingerprint(files: Sequence[str]) -> str:
    """Hash over path, size and mtime of each file. A hash, because ComfyUI's history shows it."""
    digest = hashlib.sha256()
    for name in files:
        try:
            path = resolve(name)
            stat = path.stat()
            line = f"{name}|{os.path.realpath(path)}|{stat.st_size}|{stat.st_mtime_ns}"
        except (errors.FileError, OSError):
            line = f"{name}|absent"
        digest.update(line.encode(errors="backslashreplace") + b"\n")
    return digest.hexdigest()


def cache_dir(*parts: str) -> Path:
    """A private folder in the host's user directory, made when missing."""
    import folder_paths

    if hasattr(folder_paths, "get_system_user_directory"):
        root = Path(folder_paths.get_system_user_directory("orthomerge"))
    else:
        root = Path(folder_paths.get_user_directory()) / "__orthomerge"
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def output_target(prefix: str, suffix: str = ".safetensors") -> tuple[Path, str]:
    """A new file below the output folder: its path, and its name relative to that folder.

    Raises: WriteError for a prefix that leads out of the output folder.
    """
    import folder_paths

    root = folder_paths.get_output_directory()
    clean = prefix.strip().replace("\\", "/")
    if not clean or clean.startswith("/") or ":" in clean or ".." in clean.split("/"):
        raise errors.WriteError(
            f'filename prefix "{prefix}"',
            expected="a relative name such as diffusion_models/OrthoMerge",
            fix="Results are stored below ComfyUI's output folder only.",
        )
    folder, name, counter, sub, _ = folder_paths.get_save_image_path(clean, root)
    file = f"{name}_{counter:05}_{suffix}"
    return Path(folder) / file, f"{sub}/{file}".replace(os.sep, "/").lstrip("/")


def output_folder(name: str) -> Path:
    """A folder below the output folder, made when missing."""
    import folder_paths

    folder = Path(folder_paths.get_output_directory()) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def metadata_allowed() -> bool:
    """False under `--disable-metadata`."""
    from comfy.cli_args import args

    return not getattr(args, "disable_metadata", False)
