"""Every error that a person can cause or meet, and nothing else.

    OrthoMergeError
    ├── FileError               a file cannot be used as weights
    │   ├── HeaderError         its header lies or is broken
    │   ├── UnsupportedError    its format or quantisation is not readable here
    │   └── FileChangedError    it changed or vanished under us
    ├── CompatibilityError      models do not fit together
    ├── RecipeError             a recipe or table says something impossible
    ├── AnalysisError           an analysis cannot be made, read or used
    ├── PlanError               everything wrong with a merge, collected
    ├── WriteError              a result cannot be stored
    └── Cancelled               the person stopped it

A message is one line: it names the thing, shows expected and received, and ends with the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = [
    "AnalysisError",
    "Cancelled",
    "CompatibilityError",
    "FileChangedError",
    "FileError",
    "HeaderError",
    "OrthoMergeError",
    "PlanError",
    "RecipeError",
    "UnsupportedError",
    "WriteError",
    "did_you_mean",
]


class OrthoMergeError(Exception):
    """Base of the tree.

    Args:
        what: names the thing and what is wrong with it, without a full stop.
        expected, received: shown as `expected …, received …` when given.
        fix: the way out, a full sentence.
    """

    def __init_subclass__(cls) -> None:
        # ComfyUI names a pack's modules by their absolute path and shows that name to API clients.
        cls.__module__ = "orthomerge"

    def __init__(
        self, what: str, *, expected: object = None, received: object = None, fix: str = ""
    ) -> None:
        self.what, self.expected, self.received, self.fix = what, expected, received, fix
        parts = [f"expected {expected}"] if expected is not None else []
        parts += [f"received {received}"] if received is not None else []
        head = f"{what}: {', '.join(parts)}" if parts else what
        super().__init__(f"{head.rstrip('.')}. {fix}".strip())


class FileError(OrthoMergeError):
    """A file cannot be used as weights."""


class HeaderError(FileError):
    """A header is truncated, malformed or contradicts its file."""


class UnsupportedError(FileError):
    """A format, dtype or quantisation that cannot be read here."""


class FileChangedError(FileError):
    """A file changed, shrank or vanished after it was opened."""


class CompatibilityError(OrthoMergeError):
    """Models do not fit together."""


class RecipeError(OrthoMergeError):
    """A recipe or a table says something impossible."""


class AnalysisError(OrthoMergeError):
    """An analysis cannot be made, read or used."""


class PlanError(OrthoMergeError):
    """All problems of one merge, collected before the first byte is written."""

    def __init__(self, problems: Sequence[OrthoMergeError]) -> None:
        self.problems = tuple(problems)
        first = str(self.problems[0])
        more = len(self.problems) - 1
        head = f"{first} (and {more} more problem{'s' if more > 1 else ''})" if more else first
        lines = "".join(f"\n  - {p}" for p in self.problems[1:])
        super().__init__("plan")
        self.args = (head + lines,)


class WriteError(OrthoMergeError):
    """A result cannot be stored; nothing was left behind."""


class Cancelled(OrthoMergeError):  # noqa: N818  stopping is no error of anybody's
    """The person stopped a long step; nothing was left behind."""

    def __init__(self, what: str = "Stopped on request") -> None:
        super().__init__(what, fix="Nothing was written.")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`Did you mean "x"? Valid: a, b, c.`, for the `fix` of an error about an unknown name."""
    near = get_close_matches(word, known, n=1)
    hint = f'Did you mean "{near[0]}"? ' if near else ""
    shown = ", ".join(known[:24]) + (", …" if len(known) > 24 else "")
    return f"{hint}Valid: {shown}."
