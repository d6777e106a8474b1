"""Turns errors into one clear line without paths."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...orthomerge_core import errors
from .scalars import check_inputs

__all__ = ["blocked", "explain", "guarded"]

logger = logging.getLogger(__name__)

_Returned = TypeVar("_Returned")


def guarded(execute: Callable[..., _Returned]) -> Callable[..., _Returned]:
    """Check a node's inputs, run its work with plain tensors, and turn its errors into what the
    host understands.

    Errors of ours keep their one line and lose their traceback, whose file names would show the
    person's disk to API clients; it goes to the log at debug level. `Cancelled` becomes the host's
    interrupt. Errors of the operating system name the file without its folder. Everything else is
    a bug and passes untouched.
    """

    @functools.wraps(execute)
    def safely(*args: Any, **kwargs: Any) -> _Returned:
        from comfy.model_management import InterruptProcessingException

        try:
            # Worker threads do not inherit inference mode, and may then not write its tensors.
            with torch.inference_mode(False), torch.no_grad():
                if args and hasattr(args[0], "define_schema"):
                    check_inputs(args[0].define_schema(), kwargs)
                return execute(*args, **kwargs)
        except errors.Cancelled:
            _forget_interrupt()
            raise InterruptProcessingException from None
        except errors.OrthoMergeError as error:
            logger.debug("%s", error, exc_info=True)
            raise error.with_traceback(None) from None
        except OSError as error:
            logger.debug("%s", error, exc_info=True)
            raise _plain(error) from None

    # The one frame of ours that is left in such a traceback carries no folder either.
    code = safely.__code__  # type: ignore[attr-defined]  # `wraps` hides that it is a function
    safely.__code__ = code.replace(co_filename="orthomerge/nodes/host/guard.py")  # type: ignore[attr-defined]
    return safely


def blocked(reason: str | None = None) -> Any:
    """An output that keeps whatever follows it from running; a reason becomes an error there."""
    from comfy_execution.graph_utils import ExecutionBlocker

    return ExecutionBlocker(reason)


def explain(check: Callable[[], object]) -> bool | str:
    """What `validate_inputs` returns: True, or the one line of what is wrong."""
    try:
        check()
    except errors.OrthoMergeError as error:
        return str(error)
    return True


def _forget_interrupt() -> None:
    from comfy import model_management

    model_management.interrupt_current_processing(False)


def _plain(error: OSError) -> errors.FileError:
    name = Path(str(error.filename)).name if error.filename else "a file"
    reason = error.strerror or type(error).__name__
    return errors.FileError(
        f'"{name}": {reason}', fix="Check the file and the disk, then run again."
    )
