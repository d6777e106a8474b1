"""`orthomerge inspect`: describe files, and say whether they are compatible with a base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import api
from ..errors import FileError, HeaderError, OrthoMergeError
from .bar import Bar
from .common import FILE, echo_json, json_flag, quiet_flag, shown

if TYPE_CHECKING:
    from ..report.description import FileDescription

__all__ = ["inspect"]


@click.command(short_help="Tell what files are, and how they fit a base.")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--base", type=FILE, help="Report how the files fit this base model.")
@click.option("--arch", default="auto", show_default=True, help="Architecture, if not detected.")
@json_flag
@quiet_flag
def inspect(
    files: tuple[Path, ...], base: Path | None, arch: str, as_json: bool, quiet: bool
) -> int:
    """Tell what FILES are, from their headers; with --base, how they fit it.

    A folder stands for its models.
    """
    from ..keys.opening import open_set, spec_from_paths
    from ..keys.report import compat_json, compat_text

    if base is not None:
        spec = spec_from_paths(base, files, arch)
        with Bar(quiet=quiet) as bar, open_set(spec, allow_empty=True, progress=bar) as aligned:
            found: Any = compat_json(aligned)
            text = compat_text(aligned)
            good = not aligned.skipped
    else:
        items = [_described(path) for path in _expanded(files)]
        found = [_plain(item) for item in items]
        good = not any(isinstance(item, dict) for item in items)
        text = "\n\n".join(map(_text, items))
    if as_json:
        echo_json(found)
    else:
        click.echo(text)
    return 0 if good else 1


def _expanded(files: tuple[Path, ...]) -> list[Path]:
    from ..keys.opening import models_in

    paths: list[Path] = []
    for path in files:
        found = models_in(path) if path.is_dir() else [path]
        if not found:
            what, fix = f'no model in the folder "{shown(path)}"', "Name a model file."
            raise FileError(what, fix=fix)
        paths += found
    return paths


def _described(path: Path) -> dict[str, Any] | FileDescription:
    """The file's description, or the error that stands in for it."""
    try:
        return api.describe(path)
    except OrthoMergeError as error:
        kind = {"kind": error.kind} if isinstance(error, HeaderError) else {}
        return {"file": path.name, "error": str(error), **kind}


def _text(item: dict[str, Any] | FileDescription) -> str:
    return f"{item['file']}: {item['error']}" if isinstance(item, dict) else str(item)


def _plain(item: dict[str, Any] | FileDescription) -> dict[str, Any]:
    return item if isinstance(item, dict) else item.to_json()
