"""Options for the descriptive metadata in a merged file's header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import FileError
from ..io.rawfile import explain_os_error
from .common import FILE, shown

if TYPE_CHECKING:
    from ..execute.output.details import FileDetails

__all__ = ["details_options", "read_details"]

F = TypeVar("F", bound=Callable[..., Any])


def details_options(command: F) -> F:
    """`--title`, `--author`, `--license`, `--trigger-words`, `--thumbnail` and `--metadata`."""
    for option in reversed(
        (
            click.option("--title", default="", help="Title in the header; the file's name else."),
            click.option("--author", default="", help="Author in the header."),
            click.option(
                "--license", "license_", default="", help="License; else those of the ingredients."
            ),
            click.option("--trigger-words", default="", help="With commas between them."),
            click.option("--thumbnail", type=FILE, help="A JPEG, at most 512 KiB."),
            click.option("--metadata", default="", help="More header fields, as a JSON object."),
        )
    ):
        command = option(command)
    return command


def read_details(
    title: str,
    author: str,
    license_: str,
    trigger_words: str,
    thumbnail: Path | None,
    metadata: str,
) -> FileDetails:
    """What the options say, checked; `RecipeError` or `FileError` before anything is merged."""
    from ..execute.output.details import FileDetails, free_fields

    picture = b""
    if thumbnail is not None:
        try:
            picture = thumbnail.read_bytes()
        except OSError as error:
            what = f'"{shown(thumbnail)}" cannot be read'
            reason = explain_os_error(error)
            raise FileError(what, received=reason, fix="Choose another picture.") from None
    found = FileDetails(title, author, license_, trigger_words, picture, free_fields(metadata))
    found.metadata()
    return found
