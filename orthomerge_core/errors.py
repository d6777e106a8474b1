"""The error classes: one per kind of mistake or failure that a person can cause or meet.

    OrthoMergeError
    ├── FileError               a file cannot be used as weights
    │   ├── HeaderError         its header lies or is broken
    │   ├── UnsupportedError    its format or quantization is not readable here
    │   └── FileChangedError    it changed or vanished under us
    ├── CompatibilityError      models do not fit together
    ├── RecipeError             a recipe or table says something impossible
    ├── AnalysisError           an analysis cannot be made, read or used
    ├── PlanError               everything wrong with a merge, collected
    ├── WriteError              a result cannot be stored
    └── Cancelled               the person stopped it

A message is one line: it names the thing, shows expected and received, and ends with the way out.
Whatever input it repeats, it holds only characters that every log and terminal can show, and it is
never longer than a few thousand of them (see `quoted`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

__all__ = [
    "HEADER_KINDS",
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
    "is_showable",
    "near_miss",
    "quoted",
    "shown_value",
]

HEADER_KINDS = frozenset(
    {
        "bad_metadata",  # not a map of strings
        "bad_name",  # a tensor name that cannot be shown in one line
        "bad_offsets",
        "bad_shape",
        "duplicate",  # a key twice, or one tensor in two shards
        "hole",  # bytes that belong to no tensor
        "incomplete",  # a tensor or layer without what it needs
        "bad_field",  # a GGUF field or number that cannot be
        "index",  # an index that is none, or contradicts its shards
        "not_json",
        "not_utf8",
        "overlap",
        "quantization",  # a marker or scale that is none
        "size",  # bytes and shape contradict each other
        "too_large",  # beyond a limit that no real file reaches
        "too_short",
        "truncated",
        "unknown_dtype",
        "wrong_format",  # the first bytes are those of nothing that is read here
    }
)
"""What `HeaderError.kind` can be."""

QUOTE_LIMIT = 200
"""The most characters of one piece of input that a message repeats."""

_WHAT_LIMIT, _EXPECTED_LIMIT, _FIX_LIMIT = 2000, 500, 2000
_MORE_PROBLEMS = 40
_LONG_WORD = 200  # longer words are never compared for a near miss: that grows with their product
_MOST_WORDS = 5000

# Control characters, separators of lines and paragraphs, marks that change the direction of
# writing, and halves of surrogate pairs, which no encoder accepts.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_LONG_QUOTE = re.compile(f'"([^"]{{{QUOTE_LIMIT + 1},}})"')


def is_showable(text: str) -> bool:
    """Whether `text` can stand in one line of a log, a terminal or a page as it is.

    False for control characters, line breaks, bidirectional controls and lone surrogates.
    """
    return _UNSHOWABLE.search(text) is None


def quoted(text: str, limit: int = QUOTE_LIMIT) -> str:
    """`text` as a message may repeat it: unshowable characters escaped, at most `limit` long.

    A character that `is_showable` refuses becomes `\\x07`, `\\u202e` and so on, so the result is
    one line that encodes as UTF-8. The middle of a longer text becomes `…`; its end stays, because
    file names differ there. Applying it twice changes nothing. Costs time in `limit`, not in
    the length of `text`.
    """
    room = max(limit - 1, 1)
    tail = room // 3
    if len(text) > 2 * limit:
        text = f"{text[:limit]}{text[-limit:]}"  # what is cut from the middle is never escaped
        cut = True
    else:
        cut = False
    text = _UNSHOWABLE.sub(_escape, text)
    if len(text) <= limit and not cut:
        return text
    return f"{text[: room - tail]}…{text[len(text) - tail :]}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte of a file name that is not UTF-8, as Python carries it
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shown_value(value: object, limit: int = 80) -> str:
    """Any JSON value as a message shows what it received: short, in one line, whatever it is."""
    if isinstance(value, str):
        return f'"{quoted(value, limit)}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of more than 60 digits"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "[]"
    if isinstance(value, dict):
        return f"an object of {len(value)} fields" if value else "{}"
    return quoted(type(value).__name__, limit)


class OrthoMergeError(Exception):
    """Base of the tree.

    Args:
        what: names the thing and what is wrong with it, without a full stop.
        expected, received: shown as `expected …, received …` when given.
        fix: the way out, a full sentence.

    All four pass through `quoted`, so a message is one line that can be logged, whatever names or
    values it repeats, and no input makes it longer than a few thousand characters.
    """

    # ComfyUI names a pack's modules by their absolute path and shows that name to API clients.
    __module__ = "orthomerge"

    def __init_subclass__(cls) -> None:
        cls.__module__ = OrthoMergeError.__module__

    def __init__(
        self, what: str, *, expected: object = None, received: object = None, fix: str = ""
    ) -> None:
        what = _LONG_QUOTE.sub(lambda found: f'"{quoted(found[1])}"', what)
        what, fix = quoted(what, _WHAT_LIMIT), quoted(fix, _FIX_LIMIT)
        self.what, self.expected, self.received, self.fix = what, expected, received, fix
        parts = [f"expected {quoted(str(expected), _EXPECTED_LIMIT)}"] * (expected is not None)
        parts += [f"received {quoted(str(received))}"] * (received is not None)
        head = f"{what}: {', '.join(parts)}" if parts else what
        super().__init__(f"{head.rstrip('.')}. {fix}".strip())

    def to_json(self) -> dict[str, Any]:
        """`error`, the class by name, and `message`: plain JSON for `--json` and callers."""
        return {"error": type(self).__name__, "message": str(self)}


class FileError(OrthoMergeError):
    """A file cannot be used as weights."""


class HeaderError(FileError):
    """A header is truncated, malformed or contradicts its file.

    `kind` is one of `HEADER_KINDS`, for callers that tell the reasons apart; the rest is as in
    `OrthoMergeError`.
    """

    def __init__(self, what: str, *, kind: str, **parts: Any) -> None:
        if kind not in HEADER_KINDS:
            raise ValueError(f"{kind} is not a kind of HeaderError")
        super().__init__(what, **parts)
        self.kind = kind

    def to_json(self) -> dict[str, Any]:
        """See `OrthoMergeError`; with `kind`."""
        return {**super().to_json(), "kind": self.kind}


class UnsupportedError(FileError):
    """A format, dtype or quantization that cannot be read here."""


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
        lines = "".join(f"\n  - {p}" for p in self.problems[1 : _MORE_PROBLEMS + 1])
        lines += "\n  - …" if more > _MORE_PROBLEMS else ""
        super().__init__("plan")
        self.args = (head + lines,)


class WriteError(OrthoMergeError):
    """A result cannot be stored; nothing was left behind."""


class Cancelled(OrthoMergeError):  # noqa: N818  stopping is no error of anybody's
    """The person stopped a long step; nothing was left behind."""

    def __init__(self, what: str = "Stopped on request") -> None:
        super().__init__(what, fix="Nothing was written.")


def near_miss(word: object, known: Sequence[str]) -> str:
    """`Did you mean "x"?`, or "" where nothing that is valid looks like it."""
    if not isinstance(word, str) or len(word) > _LONG_WORD:
        return ""
    near = get_close_matches(word, known[:_MOST_WORDS], n=1)
    return f'Did you mean "{quoted(near[0])}"?' if near else ""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`Did you mean "x"? Valid: a, b, c.`, for the `fix` of an error about an unknown name."""
    near = near_miss(word, known)
    hint = f"{near} " if near else ""
    shown = ", ".join(quoted(name, 80) for name in known[:24]) + (", …" if len(known) > 24 else "")
    return f"{hint}Valid: {shown}."
