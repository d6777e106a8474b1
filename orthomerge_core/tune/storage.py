"""Where studies are stored: one SQLite file, or a database that several machines share."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import FileError
from .optuna_names import load_optuna

__all__ = ["ENVIRONMENT", "MEMORY", "Storage", "is_alive", "storage_url", "worker_name"]

ENVIRONMENT = "ORTHOMERGE_STUDIES"
"""The environment variable with the URL of a database for studies."""

MEMORY = "memory"
"""In place of a URL: the study ends with the process."""

_AT_ONCE = ("already exists", "locked", "UNIQUE", "duplicate")
_ATTEMPTS = 6
_WAIT_S = 60
"""How long a process waits for another one that writes to the same SQLite file."""


def storage_url(chosen: str, folder: Path) -> str:
    """The database of a search: a URL, the path of a file, `memory`, or "" for the default.

    The default is what `ORTHOMERGE_STUDIES` says, else `studies.sqlite` in `folder`, made if need
    be.
    """
    chosen = chosen.strip() or os.environ.get(ENVIRONMENT, "").strip()
    if "://" in chosen or chosen == MEMORY:
        return chosen
    path = Path(chosen).expanduser() if chosen else folder / "studies.sqlite"
    if not chosen:
        path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.resolve().as_posix()}"


class Storage:
    """The few operations that a study needs, over Optuna's relational storage.

    Values and attributes are JSON; nothing in the database runs code when it is read. Use inside
    `talking`.

    Raises:
        UnsupportedError: Optuna is not installed.
        FileError: the database cannot be opened, or does not answer.
    """

    def __init__(self, url: str) -> None:
        self._optuna = load_optuna()
        self._url = url
        if url == MEMORY:
            self._storage = self._optuna.storages.InMemoryStorage()
            return
        arguments = {"connect_args": {"timeout": _WAIT_S}} if url.startswith("sqlite") else {}
        with self.talking():
            self._storage = self._made(arguments)

    def _made(self, arguments: dict[str, Any]) -> Any:
        """The storage; tried again where several processes make its tables at the same time."""
        from sqlalchemy.exc import SQLAlchemyError

        made = self._optuna.storages.RDBStorage
        for attempt in range(_ATTEMPTS):
            try:
                return made(self._url, engine_kwargs=arguments)
            except (SQLAlchemyError, self._optuna.exceptions.StorageInternalError) as error:
                busy = any(word in str(error) for word in _AT_ONCE)
                if attempt == _ATTEMPTS - 1 or not busy:
                    raise
                time.sleep(0.1 * (attempt + 1))
        raise AssertionError  # the last attempt raised

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Errors of the database become a `FileError` that names no password."""
        from sqlalchemy.exc import SQLAlchemyError

        kinds = self._optuna.exceptions
        try:
            yield
        except (SQLAlchemyError, kinds.StorageInternalError, ImportError) as error:
            reason = str(error).split("\n")[0]
            raise FileError(
                f'studies in "{_without_secret(self._url)}" cannot be read or written',
                received=_without_secret(reason),
                fix="Check the address of the database, or leave it empty.",
            ) from None

    def open(self, name: str, directions: Sequence[str], about: Mapping[str, Any]) -> int:
        """The id of a study, made with `about` if there is none of this name."""
        direction = self._optuna.study.StudyDirection
        kinds = [direction[word.upper()] for word in directions]
        try:
            found = int(self._storage.create_new_study(kinds, name))
        except self._optuna.exceptions.DuplicatedStudyError:
            found = int(self._storage.get_study_id_from_name(name))
        known = self._storage.get_study_user_attrs(found)
        for key, value in about.items():
            if key not in known:
                self._storage.set_study_user_attr(found, key, value)
        return found

    def about(self, study: int) -> Mapping[str, Any]:
        """The attributes of a study."""
        return dict(self._storage.get_study_user_attrs(study))

    def trials(self, study: int, state: str = "") -> list[Any]:
        """Optuna's frozen trials by number; all, or those in a state."""
        states = (self._optuna.trial.TrialState[state],) if state else None
        return list(self._storage.get_all_trials(study, deepcopy=False, states=states))

    def new_trial(self, study: int, about: Mapping[str, Any]) -> tuple[int, int]:
        """(id, number) of a new trial that runs; numbers are handed out once."""
        trial = int(self._storage.create_new_trial(study))
        self.mark(trial, about)
        return trial, int(self._storage.get_trial_number_from_id(trial))

    def set_values(self, trial: int, values: Mapping[str, Any], spaces: Mapping[str, Any]) -> None:
        """Store what a trial tries."""
        for name, space in spaces.items():
            value = space.to_internal_repr(values[name])
            self._storage.set_trial_param(trial, name, value, space)

    def mark(self, trial: int, about: Mapping[str, Any]) -> None:
        """Set attributes of a trial that runs."""
        for key, value in about.items():
            self._storage.set_trial_user_attr(trial, key, value)

    def finish(self, trial: int, values: Sequence[float] | None) -> bool:
        """Complete a trial, or let it fail; False where it was finished before."""
        states = self._optuna.trial.TrialState
        state = states.FAIL if values is None else states.COMPLETE
        try:
            return bool(self._storage.set_trial_state_values(trial, state, values))
        except (RuntimeError, self._optuna.exceptions.UpdateFinishedTrialError):
            return False


def worker_name() -> str:
    """This process, as trials note it: the machine and the number of the process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_alive(worker: str) -> bool:
    """Whether that process may still run; True for another machine, and where nothing is known."""
    host, _, number = worker.partition(":")
    if host != socket.gethostname() or not number.isdigit():
        return True
    return _runs(int(number))


def _runs(number: int) -> bool:
    if sys.platform == "win32":  # there, signal 0 would end the process
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, number)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _without_secret(text: str) -> str:
    """The text without user and password of a URL, and without folders of this machine."""
    text = re.sub(r"//[^/@\s]*@", "//", text)
    return re.sub(r"(/[^/\s\"']+)+/", "…/", text) if "sqlite" in text else text
