"""`python -m orthomerge_core`: see `orthomerge_core.cli`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the shell command; says what to install where click is missing."""
    try:
        from .cli.app import run
    except KeyboardInterrupt:  # while torch is loaded
        sys.stderr.write("Stopped.\n")
        os._exit(1)
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write("The shell commands need click. Install it: pip install click.\n")
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
