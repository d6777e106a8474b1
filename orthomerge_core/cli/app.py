"""The command `orthomerge`: its subcommands, exit codes and error output."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from .. import __version__
from ..errors import OrthoMergeError
from ..io.rawfile import explain_os_error
from .analyze import analyze
from .common import echo_json
from .export import export
from .extract_lora import extract_lora
from .grid import grid
from .inspect import inspect
from .merge import merge
from .optimize import optimize
from .preview import preview
from .tune import tune
from .verify import verify

__all__ = ["app", "run"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="orthomerge")
def app() -> None:
    """Analyze fine-tuned diffusion models, find their best delta bases, merge and verify them."""


for _command in (
    inspect,
    analyze,
    optimize,
    merge,
    extract_lora,
    grid,
    tune,
    export,
    verify,
    preview,
):
    app.add_command(_command)


def run(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code: 0 done, 1 failed, 2 wrong use."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)
    sys.exit(_guarded(arguments))


def _stop(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM like Ctrl-C: remove temporary files, then end."""
    raise KeyboardInterrupt


def _guarded(arguments: list[str] | None) -> int:
    try:
        result = _invoke(sys.argv[1:] if arguments is None else arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. Nothing half-written was left behind.", err=True)
        _leave()
    except OrthoMergeError as error:
        click.echo(f"Error: {error}", err=True)
        if _wants_json(arguments):
            echo_json(error.to_json())
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        click.echo(f"Error: {explain_os_error(error)}.", err=True)
        return 1
    return result if isinstance(result, int) else 0


def _invoke(words: list[str]) -> object:
    """Run a command as `app.main` does, without the empty line that click writes at a stop."""
    try:
        with app.make_context(_program(), list(words)) as context:
            return app.invoke(context)
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code


def _wants_json(arguments: list[str] | None) -> bool:
    """Whether stdout is to be JSON; of `analyze`, `--json` names a file."""
    words = sys.argv[1:] if arguments is None else arguments
    return "--json" in words and words[0] != "analyze"


def _program() -> str:
    """The name that usage lines show: as the user started the program."""
    by_module = Path(sys.argv[0]).stem == "__main__"
    return "python -m orthomerge_core" if by_module else "orthomerge"


def _leave() -> NoReturn:
    """After a stop nothing is waited for: neither an abandoned decomposition, nor the libraries'
    own end, which takes seconds on a busy machine. What had to be cleaned up has been by now."""
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(1)
