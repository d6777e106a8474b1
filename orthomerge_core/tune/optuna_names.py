"""The only place that imports Optuna, which is optional; it does so when a study is opened."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import UnsupportedError

__all__ = ["load_optuna"]


def load_optuna() -> Any:
    """The module `optuna`, quiet.

    Raises: UnsupportedError where it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UnsupportedError(
            "a search needs the package optuna, which is not installed",
            fix="Install it: pip install optuna cmaes.",
        ) from None
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna
