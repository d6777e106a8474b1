"""Names and folders: what may be read, and where results and caches go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...orthomerge_core import errors
from ...orthomerge_core.io.opening import is_readable_name
from ...orthomerge_core.io.paths import did_you_mean_file
from ...orthomerge_core.recipe.codec import MAX_MODELS

__all__ = [
    "ModelFolders",
    "cache_dir",
    "fingerprint",
    "listing",
    "metadata_allowed",
    "names",
    "output_folder",
    "output_target",
    "readable_names",
    "resolve",
    "resolve_all",
    "siblings",
    "unshowable_siblings",
]

_LONGEST_PREFIX = 200
"""Bytes of a part of a prefix: systems take 255, and a number and a suffix are added."""
LORAS = "loras"
GGUF, OWN_GGUF = "unet_gguf", "orthomerge_gguf"
"""The pack that loads GGUF registers the first; without it, the second is ours."""
FOLDERS = ("diffusion_models", "checkpoints", GGUF, OWN_GGUF, LORAS)


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
    """Names for a list of bases: readable files except LoRAs, sorted."""
    return sorted(
        n for n, (folder, _) in names().items() if folder != LORAS and is_readable_name(n)
    )


def resolve(name: str) -> Path:
    """The file behind a shown name. Only names that a registered folder lists can be opened.

    Raises: FileError with the nearest names where there is none.
    """
    return _resolve(name, names())


def resolve_all(wanted: Sequence[str]) -> list[Path]:
    """As `resolve` of each, with one look at the folders."""
    if len(wanted) > MAX_MODELS + 1:
        raise errors.RecipeError(
            "the set has too many models",
            expected=f"at most {MAX_MODELS}",
            received=len(wanted) - 1,
            fix="Remove some lines.",
        )
    known = names()
    return [_resolve(name, known) for name in wanted]


def _resolve(name: str, known: Mapping[str, tuple[str, str]]) -> Path:
    import folder_paths

    wanted = name.replace("\\", "/")
    if wanted not in known:
        wanted = wanted.strip()
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
        near = did_you_mean_file(
            wanted,
            [n for n in known if is_readable_name(n)],
            none_known="Put weights into models/diffusion_models or checkpoints first.",
            none_near="Refresh the model lists (R) if the file is new.",
        )
        raise errors.FileError(
            f'no model file "{name.strip()}" in the model folders',
            fix=" ".join([near, *_out_of_reach()]),
        )
    path = folder_paths.get_full_path(*known[wanted])
    if path is None:
        raise errors.FileChangedError(
            f'"{wanted}" is listed but no longer there',
            fix="Refresh the model lists (R) and choose it again.",
        )
    return Path(path)


def _out_of_reach() -> list[str]:
    """A sentence on registered folders whose drive is not connected: they and their parent are
    absent. Folders are named without the way to them."""
    import folder_paths

    known = folder_paths.folder_names_and_paths
    paths = {Path(path) for folder in FOLDERS if folder in known for path in known[folder][0]}
    absent = sorted(f"{p.parent.name}/{p.name}" for p in paths if not p.parent.exists())
    if not absent:
        return []
    return [f"Not reachable: {', '.join(absent[:3])}. Connect its drive if the file is there."]


class ModelFolders:
    """The registered folders, for a recipe that looks for its files; see `execute.plan.renamed`."""

    def __call__(self, file: str) -> Path:
        """As `resolve`."""
        return resolve(file)

    def candidates(self) -> list[Path]:
        """Every readable model file, each once."""
        known = names()
        return list({_resolve(n, known): None for n in sorted(known) if is_readable_name(n)})


def listing() -> list[dict[str, Any]]:
    """Every readable model file, sorted: shown name, size in bytes, mtime in seconds.

    `lora` is there, and true, where the file lies among the LoRAs.
    """
    found: list[dict[str, Any]] = []
    known = names()
    for name in sorted(filter(is_readable_name, known)):
        try:
            stat = _resolve(name, known).stat()
        except (errors.FileError, OSError):  # listed, but gone since
            continue
        entry = {"name": name, "bytes": stat.st_size, "modified": int(stat.st_mtime)}
        found.append(entry | ({"lora": True} if known[name][0] == LORAS else {}))
    return found


def unshowable_siblings(name: str) -> list[str]:
    """Names, made showable, of the weights in the folder of `name` that no list can hold."""
    folder = resolve(name).parent
    odd = (p.name for p in folder.iterdir() if not errors.is_showable(p.name) and p.is_file())
    return sorted(errors.quoted(n) for n in odd if is_readable_name(n))


def siblings(name: str) -> list[str]:
    """Readable files of the same registered folder and sub-folder as `name`, without it."""
    known = names()
    path = _resolve(name, known)
    folder = next((_home(f) for n, (f, _) in known.items() if n == name), None)
    head = name.rsplit("/", 1)[0] + "/" if "/" in name else ""
    return sorted(
        other
        for other, (where, _) in known.items()
        if _home(where) == folder
        and is_readable_name(other)
        and other.startswith(head)
        and "/" not in other[len(head) :]
        and _resolve(other, known) != path
    )


def _home(folder: str) -> str:
    """GGUF files lie among the others, whatever key the host lists them under."""
    return "diffusion_models" if folder in (GGUF, OWN_GGUF) else folder


def fingerprint(files: Sequence[str], find: Callable[[str], Path] | None = None) -> str:
    """Hash over path, inode, size and times of each file: ComfyUI shows it in its history.

    find: name → path; None looks into the registered folders, once.
    """
    digest = hashlib.sha256()
    known = names()
    for name in files:
        try:
            path = find(name) if find else _resolve(name, known)
            stat = path.stat()
            # A file may be replaced by one of the same size and time; inode and ctime then differ.
            times = f"{stat.st_mtime_ns}|{stat.st_ctime_ns}"
            line = f"{name}|{os.path.realpath(path)}|{stat.st_ino}|{stat.st_size}|{times}"
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
    clean = prefix.strip().replace("\\", "/") if isinstance(prefix, str) else ""
    if not _is_prefix(clean):
        raise errors.WriteError(
            f'filename prefix "{prefix}"',  # null and {} arrive as the texts None and {}
            expected="a relative name such as diffusion_models/OrthoMerge",
            fix="Results are stored below ComfyUI's output folder only.",
        )
    folder, name, counter, sub, _ = folder_paths.get_save_image_path(clean, root)
    file = f"{name}_{counter:05}_{suffix}"
    return Path(folder) / file, f"{sub}/{file}".replace(os.sep, "/").lstrip("/")


def _is_prefix(text: str) -> bool:
    """Whether files may be named so: below the output folder, on any system, and on purpose."""
    parts = text.split("/")
    return (
        all(parts)
        and errors.is_showable(text)
        and not set(':<>"|?*{}') & set(text)
        and not {"..", ".", "None", "null", "undefined"} & set(parts)
        and max(len(part.encode()) for part in parts) <= _LONGEST_PREFIX
    )


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
