"""`orthomerge verify`: check a merged file against the content hash in its header."""

from __future__ import annotations

from pathlib import Path

import click

from .. import api
from .bar import Bar
from .common import FILE, echo_json, json_flag, quiet_flag

__all__ = ["verify"]


@click.command(short_help="Check that a merged file is what was merged.")
@click.argument("file", type=FILE)
@json_flag
@quiet_flag
def verify(file: Path, as_json: bool, quiet: bool) -> int:
    """Compute the content hash of FILE again and compare it with the one in its header."""
    with Bar(quiet=quiet) as bar:
        found = api.verify(file, progress=bar)
    if as_json:
        echo_json(found.to_json())
    else:
        click.echo(found.verdict)
    return 0 if found.ok else 1
