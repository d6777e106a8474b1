"""Entry point of `orthomerge` and `python -m orthomerge_core`; see `orthomerge_core.cli`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the shell command; says what to install where click is missing."""
    signal.signal(signal.SIGINT, _stop)  # libraries that are stopped as they load say much
    try:
        from .cli.app import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write("The shell commands need click. Install it: pip install click.\n")
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _stop(number: int, frame: FrameType | None) -> None:
    sys.stderr.write("Stopped.\n")
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
