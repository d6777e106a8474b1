"""What the commands share: options, reading and writing of JSON, caches.

Modules of this package import neither torch nor anything that does before a command needs it, so
that help and wrong usage are answered at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import FileError, WriteError
from ..io.cachedir import default_cache_dir
from ..io.rawfile import explain_os_error
from ..io.temp import replace_file, write_failure
from ..io.text import read_text, shown
from ..recipe.model import Recipe
from ..recipe_file import parse_recipe, read_recipe_file

__all__ = [
    "FILE",
    "FOLDER",
    "STDIN",
    "cache_folder",
    "cache_options",
    "echo_json",
    "json_flag",
    "make_folder",
    "quiet_flag",
    "read_json",
    "read_recipe",
    "require_text_target",
    "shown",
    "write_text",
]

FILE = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
STDIN = "-"
_MODELS = (".safetensors", ".sft", ".gguf", ".safetensors.index.json")
F = TypeVar("F", bound=Callable[..., Any])

json_flag = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet_flag = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")


def cache_folder(folder: Path | None, off: bool) -> Path | None:
    """Where a command keeps results between runs; None with `--no-cache`."""
    return None if off else folder or default_cache_dir()


def cache_options(command: F) -> F:
    """`--cache-dir` and `--no-cache`."""
    command = click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")(
        command
    )
    return click.option(
        "--cache-dir",
        type=FILE,
        help="Folder for results that are kept between runs (see docs/shell.md).",
    )(command)


def echo_json(value: Any) -> None:
    """Print JSON on stdout; NaN is never written."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def read_json(path: Path, what: str) -> Any:
    """Parsed JSON of a file, or of stdin for `-`; `FileError` calls it `what`."""
    text = _read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FileError(
            f'"{path.name}" is not JSON', expected=what, fix="Choose another."
        ) from None


def read_recipe(path: Path) -> Recipe:
    """A recipe from a file in any of their formats, or from the JSON of stdin for `-`."""
    if str(path) == STDIN:
        return parse_recipe(sys.stdin.read(), path)
    return read_recipe_file(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file at once: a reader never sees half of it, and no model becomes a text."""
    require_text_target(path)
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise write_failure(path.name, error) from None


def make_folder(folder: Path) -> None:
    """Make a folder for results, with those above it; `WriteError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f'the folder "{shown(folder)}" cannot be made'
        raise WriteError(what, received=explain_os_error(error), fix="Choose another.") from None


def require_text_target(path: Path) -> None:
    """`WriteError` before a long step whose text could not, or must not, be written to `path`."""
    if path.name.lower().endswith(_MODELS):
        what = f'"{shown(path)}" has the name of a model, and this is a text'
        raise WriteError(what, fix="Choose a name that ends in .json, .md, .mecha or .py.")
    if path.is_dir():
        what = f'"{shown(path)}" is a folder'
        raise WriteError(what, fix="Name a file in it.")
    if not path.parent.is_dir():
        what = f'the folder for "{shown(path)}" does not exist'
        raise WriteError(what, fix="Create it first.")


def _read_text(path: Path, what: str) -> str:
    return sys.stdin.read() if str(path) == STDIN else read_text(path, what)
