"""Descriptive metadata of a merged file: title, author, license, trigger words, picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import RecipeError, shown_value

__all__ = ["MAX_FIELD_BYTES", "MAX_THUMBNAIL_BYTES", "FileDetails", "free_fields", "thumbnail_uri"]

MAX_THUMBNAIL_BYTES = 512 << 10
MAX_FIELD_BYTES = 64 << 10
_RESERVED = ("orthomerge.", "modelspec.", "sd_merge_", "mecha_recipe", "format", "config",
             "_quantization_metadata", "__metadata__")  # fmt: skip


@dataclass(frozen=True)
class FileDetails:
    """Words for people in the header of a merged file; empty ones are left out.

    `title`, `author`, `license`: as ModelSpec has them. `trigger_words`: with commas between them.
    `thumbnail`: a JPEG. `extra`: more header fields, see `free_fields`.
    """

    title: str = ""
    author: str = ""
    license: str = ""
    trigger_words: str = ""
    thumbnail: bytes = field(default=b"", repr=False)
    extra: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[str, str]:
        """The header fields; `RecipeError` for a text that is too long, or a picture that is none.

        They come after what ingredients state, so that a license given here replaces the list.
        """
        texts = {
            "title": self.title,
            "author": self.author,
            "license": self.license,
            "trigger_phrase": self.trigger_words,
        }
        found = {f"modelspec.{name}": text.strip() for name, text in texts.items() if text.strip()}
        for name, text in found.items():
            _check_length(name, text)
        if self.thumbnail:
            found["modelspec.thumbnail"] = thumbnail_uri(self.thumbnail)
        return {**self.extra, **found}


def thumbnail_uri(jpeg: bytes) -> str:
    """A JPEG as the data URI that ModelSpec asks for; `RecipeError` for anything else.

    ModelSpec advises 256 × 256 pixels.
    """
    if jpeg[:3] != b"\xff\xd8\xff":
        raise RecipeError(
            "thumbnail", expected="a JPEG", received="another format", fix="Save it as a JPEG."
        )
    if len(jpeg) > MAX_THUMBNAIL_BYTES:
        raise RecipeError(
            "thumbnail",
            expected=f"at most {MAX_THUMBNAIL_BYTES >> 10} KiB",
            received=f"{len(jpeg) >> 10} KiB",
            fix="Make it smaller: 256 × 256 pixels are usual.",
        )
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def free_fields(text: str) -> dict[str, str]:
    """Header fields from a JSON object: text as it is, anything else as JSON; none from no text.

    Raises:
        RecipeError: it is no JSON object, or it names a field that the merge itself writes.
    """
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RecipeError(
            "metadata", expected="a JSON object", received=shown_value(text, 40),
            fix='Write it like {"notes": "for portraits"}.',
        )  # fmt: skip
    found: dict[str, str] = {}
    for name, item in value.items():
        if name.startswith(_RESERVED) or not name.strip():
            raise RecipeError(
                f'metadata: "{name[:80]}" is not free',
                fix="Choose a name of your own; title, author and the like have their own inputs.",
            )
        found[name] = item if isinstance(item, str) else _as_json(item)
        _check_length(name, found[name])
    return found


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _check_length(name: str, text: str) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_FIELD_BYTES:
        raise RecipeError(
            f'metadata: "{name[:80]}" is too long',
            expected=f"at most {MAX_FIELD_BYTES >> 10} KiB",
            fix="Shorten it.",
        )
