"""What the commands share: options, reading and writing of JSON, caches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..analysis.cache import AnalysisCache
from ..errors import FileError, WriteError
from ..io.cachedir import default_cache_dir
from ..io.hashing import HashMemo
from ..io.rawfile import explain_os_error
from ..io.temp import replace_file
from ..recipe.codec import loads
from ..recipe.model import Recipe

__all__ = [
    "FILE",
    "Caches",
    "cache_options",
    "echo_json",
    "json_flag",
    "make_folder",
    "quiet_flag",
    "read_json",
    "read_recipe",
    "require_folder",
    "shown",
    "write_text",
]

FILE = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])

json_flag = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet_flag = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")


class Caches:
    """The caches of a run; all None with `--no-cache`."""

    def __init__(self, folder: Path | None, off: bool) -> None:
        root = None if off else folder or default_cache_dir()
        self.folder = root
        self.memo = HashMemo(root / "hashes" if root else None)
        self.analysis = AnalysisCache(root / "analysis") if root else None


def cache_options(command: F) -> F:
    """`--cache-dir` and `--no-cache`."""
    command = click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")(
        command
    )
    return click.option(
        "--cache-dir", type=FILE, help="Where results are kept between runs (see README)."
    )(command)


def echo_json(value: Any) -> None:
    """Print JSON on stdout; NaN is never written."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def read_json(path: Path, what: str) -> Any:
    """Parsed JSON of a file; `FileError` calls it `what`."""
    text = _read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FileError(
            f'"{path.name}" is not JSON', expected=what, fix="Choose another."
        ) from None


def read_recipe(path: Path) -> Recipe:
    """A recipe from its JSON, the header of a merged safetensors file, or sd-mecha's `.mecha`."""
    if path.suffix.lower() in (".safetensors", ".sft"):
        from ..execute.provenance import recipe_from_metadata
        from ..io.header import read_header

        return recipe_from_metadata(read_header(path).metadata, path.name)
    text = _read_text(path, "a recipe")
    if path.suffix.lower() == ".mecha":
        from ..mecha import recipe_from_text

        return recipe_from_text(text)
    return loads(text)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once: a reader never sees half of it."""
    try:
        replace_file(path, text.encode())
    except OSError as error:
        what = f'"{path.name}" cannot be written'
        reason = explain_os_error(error)
        raise WriteError(what, received=reason, fix="Choose another folder.") from None


def make_folder(folder: Path) -> None:
    """Make a folder for results, with those above it; `WriteError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f'the folder "{shown(folder)}" cannot be made'
        raise WriteError(what, received=explain_os_error(error), fix="Choose another.") from None


def require_folder(path: Path) -> None:
    """`WriteError` before a long step whose result could not be written to `path`."""
    if not path.parent.is_dir():
        what = f'the folder for "{shown(path)}" does not exist'
        raise WriteError(what, fix="Create it first.")


def shown(path: Path) -> str:
    """What messages call a file or folder: its name, never the way to it."""
    return path.name or "."


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows' editors put a mark in front
    except FileNotFoundError:
        what = f'"{shown(path)}" does not exist'
        raise FileError(what, fix="Check the name and the folder.") from None
    except (OSError, UnicodeDecodeError):
        name = f'"{shown(path)}" cannot be read as text'
        raise FileError(name, expected=what, fix="Choose another file.") from None
