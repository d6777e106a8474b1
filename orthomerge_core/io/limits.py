"""Limits on headers that no real file reaches, checked before memory is allocated.

The largest diffusion checkpoints have under 10,000 tensors and headers of 2 MB; trainers add up to
a few megabytes of metadata in under a hundred entries, and tokenizers in GGUF files 800,000 words.
"""

from __future__ import annotations

import re

from ..errors import HeaderError

__all__ = [
    "MAX_FIELDS",
    "MAX_HEADER_BYTES",
    "MAX_METADATA",
    "MAX_TENSORS",
    "MAX_WORDS",
    "check_json_size",
    "too_large",
]

MAX_HEADER_BYTES = 32 << 20
MAX_TENSORS = 100_000
MAX_METADATA = 10_000
MAX_FIELDS = 10_000
"""Of a GGUF file."""
MAX_WORDS = 1_500_000
"""Strings in all arrays of a GGUF file together."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def check_json_size(name: str, raw: bytes, objects: int = MAX_TENSORS) -> None:
    """Refuse JSON with more strings, objects, lists or values than `objects` tensors need.

    A list of empty lists takes thirty times its bytes once it is parsed. Here only bytes are
    counted, outside strings, and nothing is copied.

    Raises: HeaderError, kind `too_large`.
    """
    quotes = raw.count(b'"') - raw.count(b'\\"')
    if quotes > 12 * objects + 4 * MAX_METADATA:
        raise too_large(name, "strings", 6 * objects + 2 * MAX_METADATA, "more")
    for what, mark, limit in (
        ("objects", b"{", objects + 8),
        ("lists", b"[", 2 * objects + 8),
        ("values", b",", 10 * objects + MAX_METADATA),
    ):
        count = raw.count(mark)
        if count > limit:  # most likely in a string, as where metadata holds JSON
            count -= sum(found[0].count(mark) for found in _STRING.finditer(raw))
        if count > limit:
            raise too_large(name, what, limit, count)


def too_large(name: str, what: str, limit: int, received: object) -> HeaderError:
    """The error of a header with more than `limit` of something."""
    return HeaderError(
        f'the header of "{name}" has too many {what}',
        kind="too_large",
        expected=f"at most {limit}",
        received=received,
        fix="It is damaged or not a model: download or convert it again.",
    )
