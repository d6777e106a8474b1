"""Parses and checks the GGUF header completely, so that a corrupt file is a named error.

Little-endian: magic, version, counts, key-value pairs, then name, dimensions (innermost first),
type and offset of each tensor; the data begins at the next multiple of `general.alignment`.
Source: ggml, docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ..errors import HeaderError, UnsupportedError
from .hashing import bytes_hash
from .header import is_name
from .limits import MAX_FIELDS, MAX_HEADER_BYTES, MAX_TENSORS, MAX_WORDS, too_large
from .rawfile import RawFile

__all__ = ["GgufHeader", "GgufTensor", "parse_gguf"]

_DOWNLOAD = "The file is damaged or incomplete: download it again."
_MAX_AXES = 8
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_KEPT_ITEMS = 64  # longer arrays are vocabularies, of no use here
_READ_AHEAD = 1 << 20


@dataclass(frozen=True)
class GgufTensor:
    """A tensor's row-major shape, ggml type number and offset from the beginning of the data."""

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file announces. `fields` has scalars, strings and short arrays; `digest` is the
    XXH3-128 of all its bytes."""

    fields: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]
    data_start: int
    digest: str = field(repr=False)


def parse_gguf(file: RawFile) -> GgufHeader:
    """The header of an open GGUF file.

    Raises:
        HeaderError: it is truncated, or its numbers are impossible.
        UnsupportedError: another version or byte order.
    """
    cursor = _Cursor(file)
    if file.size < 4 or cursor.take(4) != b"GGUF":
        what = f'"{file.name}" is not a GGUF file'
        raise HeaderError(
            what,
            kind="wrong_format",
            fix="Check what it really is, and rename or download it again.",
        )
    version = cursor.number("I")
    if version not in (2, 3):
        raise UnsupportedError(
            f'"{file.name}" has an unknown GGUF version',
            expected="2 or 3, little-endian",
            received=version,
            fix="Convert it again with a current llama.cpp.",
        )
    n_tensors, n_fields = cursor.number("Q"), cursor.number("Q")
    for what, count, limit in (
        ("tensors", n_tensors, MAX_TENSORS),
        ("fields", n_fields, MAX_FIELDS),
    ):
        if count > limit:
            raise too_large(file.name, what, limit, count)
    fields = dict(_field(cursor) for _ in range(n_fields))
    tensors: dict[str, GgufTensor] = {}
    for _ in range(n_tensors):
        name, tensor = _tensor(cursor, fields)
        if name in tensors:
            raise HeaderError(
                f'"{file.name}" has the tensor "{name}" twice', kind="duplicate", fix=_DOWNLOAD
            )
        tensors[name] = tensor
    alignment = fields.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
        what = f'"{file.name}" has an impossible alignment'
        raise HeaderError(what, kind="bad_field", received=alignment, fix=_DOWNLOAD)
    data_start = -(-cursor.position // alignment) * alignment
    return GgufHeader(fields, tensors, data_start, cursor.digest())


class _Cursor:
    """Reads forward through the header; every way past its end is a `HeaderError`."""

    def __init__(self, file: RawFile) -> None:
        self._file, self._bytes, self.position = file, bytearray(), 0
        self.name = file.name
        self._limit = min(file.size, MAX_HEADER_BYTES)
        self._words = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if self._limit < end <= self._file.size:
            raise too_large(self.name, "bytes", self._limit, f"{end} or more")
        if end > self._limit:
            raise HeaderError(
                f'"{self.name}" is truncated in its header, or the header lies',
                kind="truncated",
                expected=f"{end} bytes or more",
                received=f"{self._file.size} bytes",
                fix=_DOWNLOAD,
            )
        if end > len(self._bytes):
            self._read_to(end)
        found = bytes(self._bytes[self.position : end])
        self.position = end
        return found

    def _read_to(self, end: int) -> None:
        have = len(self._bytes)
        more = bytearray(min(max(end - have, _READ_AHEAD), self._limit - have))
        self._file.read_at(memoryview(more), have)
        self._bytes += more

    def skip_texts(self, count: int) -> None:
        """Skip strings that are not needed, without allocating them."""
        self._words += count
        if self._words > MAX_WORDS:
            raise too_large(self.name, "words in its arrays", MAX_WORDS, "more")
        length, position = struct.Struct("<Q").unpack_from, self.position
        for _ in range(count):
            if position + 8 > len(self._bytes):
                self.position = position
                self.take(8)
            position += 8 + length(self._bytes, position)[0]
        self.position = min(position, self._file.size + 1)
        self.take(0)

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        raw = self.take(self.number("Q"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise HeaderError(
                f'"{self.name}" has a name that is not UTF-8', kind="not_utf8", fix=_DOWNLOAD
            ) from None

    def digest(self) -> str:
        return bytes_hash(memoryview(self._bytes)[: self.position])


def _field(cursor: _Cursor) -> tuple[str, Any]:
    key, kind = cursor.text(), cursor.number("I")
    return key, _value(cursor, kind)


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _STRING:
        return cursor.text()
    if kind != _ARRAY:
        what = f'"{cursor.name}" has a field of an unknown type'
        raise HeaderError(what, kind="bad_field", expected="0 to 12", received=kind, fix=_DOWNLOAD)
    item_kind, count = cursor.number("I"), cursor.number("Q")
    if item_kind in _SCALARS and count > _KEPT_ITEMS:
        cursor.take(count * struct.calcsize("<" + _SCALARS[item_kind]))
        return None
    if item_kind == _ARRAY:
        what = f'"{cursor.name}" has an array of arrays in its header'
        raise HeaderError(what, kind="bad_field", fix=_DOWNLOAD)
    read: Callable[[_Cursor, int], Any] = _value
    kept = [read(cursor, item_kind) for _ in range(min(count, _KEPT_ITEMS))]
    if count > len(kept):
        cursor.skip_texts(count - len(kept))
    return kept if count <= _KEPT_ITEMS else None


def _tensor(cursor: _Cursor, fields: Mapping[str, Any]) -> tuple[str, GgufTensor]:
    name = cursor.text()
    if not is_name(name):
        raise HeaderError(
            f'"{cursor.name}" has an impossible tensor name', kind="bad_name", fix=_DOWNLOAD
        )
    axes = cursor.number("I")
    if axes > _MAX_AXES:
        what = f'tensor "{name}" in "{cursor.name}" has an impossible number of axes'
        raise HeaderError(
            what, kind="bad_shape", expected=f"at most {_MAX_AXES}", received=axes, fix=_DOWNLOAD
        )
    sizes = [cursor.number("Q") for _ in range(axes)]
    kind, offset = cursor.number("I"), cursor.number("Q")
    shape = tuple(reversed(sizes))
    original = fields.get(f"comfy.gguf.orig_shape.{name}")
    if original is not None:
        # written where the converter had to reshape a tensor to fill whole blocks
        good = isinstance(original, list) and all(isinstance(n, int) and n >= 0 for n in original)
        if not good or prod(original) != prod(shape):
            what = f'tensor "{name}" in "{cursor.name}" contradicts its original shape'
            raise HeaderError(
                what, kind="bad_shape", expected=list(shape), received=original, fix=_DOWNLOAD
            )
        shape = tuple(original)
    if prod(max(size, 1) for size in shape) >= 2**62:
        what = f'tensor "{name}" in "{cursor.name}" has an impossible shape'
        raise HeaderError(what, kind="bad_shape", received=list(shape), fix=_DOWNLOAD)
    return name, GgufTensor(shape, kind, offset)
