"""Reads the safetensors header; every number in it is checked before it is used.

A file is: 8 bytes little-endian header length, that many bytes of JSON, then the tensors' bytes.
The JSON maps names to dtype, shape and data_offsets (relative to the end of the header), and
`__metadata__` to a map of strings. The offsets must cover the rest of the file without holes or
overlap.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HeaderError, is_showable
from .hashing import bytes_hash
from .limits import MAX_HEADER_BYTES, MAX_METADATA, MAX_TENSORS, check_json_size, too_large
from .other_kinds import refuse_other_kinds
from .rawfile import RawFile
from .tensor_info import DOWNLOAD, FIELDS, Item, TensorInfo, shown, tensor_info

__all__ = [
    "MAX_HEADER_BYTES",
    "Header",
    "TensorInfo",
    "is_name",
    "parse_header",
    "read_header",
]

_MAX_NAME = 1000
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Header:
    """A validated header. `tensors` in the order of the bytes; `digest` is XXH3-128 of the JSON."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_start: int
    file_size: int
    digest: str = field(default="", repr=False)


def read_header(path: Path, name: str | None = None) -> Header:
    """The validated header of a safetensors file; reads nothing else.

    Raises:
        FileError: it cannot be opened.
        HeaderError: one message per way in which a header can be wrong.
        UnsupportedError: the file is of another kind (a pickle, a GGUF, a web page).
    """
    file = RawFile(path, name)
    try:
        return parse_header(file)
    finally:
        file.close()


def parse_header(file: RawFile) -> Header:
    """As `read_header`, of a file that is already open.

    At its peak it holds eight times the header's bytes, or 200 kB if that is more.
    """
    raw = _header_bytes(file)
    data_start, digest = 8 + len(raw), bytes_hash(raw)
    check_json_size(file.name, raw)
    text = _decoded(file.name, raw)
    del raw
    tree = _parse_json(file.name, text)
    del text
    metadata = _metadata(file.name, tree.pop("__metadata__", {}))
    if len(tree) > MAX_TENSORS:
        raise too_large(file.name, "tensors", MAX_TENSORS, len(tree))
    # popped, so that what was parsed goes while what is kept grows
    infos = {k: tensor_info(file.name, k, tree.pop(k), data_start) for k in list(tree)}
    order = sorted(infos, key=lambda k: (infos[k].start, infos[k].stop, k))
    ordered = {key: infos.pop(key) for key in order}
    _check_cover(file.name, ordered, data_start, file.size)
    return Header(ordered, metadata, data_start, file.size, digest)


def _header_bytes(file: RawFile) -> bytes:
    head = bytearray(min(file.size, 64))
    file.read_at(memoryview(head), 0)
    length = int.from_bytes(head[:8], "little")
    if 8 + length > file.size:  # a real length may begin with any of the other kinds' bytes
        refuse_other_kinds(file.name, bytes(head))
    if file.size < 8:
        what = f'"{file.name}" is too short to be a safetensors file'
        raise HeaderError(
            what, kind="too_short", expected="8 bytes or more", received=file.size, fix=DOWNLOAD
        )
    if length > MAX_HEADER_BYTES:
        raise HeaderError(
            f'"{file.name}" announces an impossible header length',
            kind="too_large",
            expected=f"at most {MAX_HEADER_BYTES} bytes",
            received=length,
            fix="It is damaged or not a safetensors file: download or convert it again.",
        )
    if 8 + length > file.size:
        what = f'"{file.name}" is truncated in its header'
        raise HeaderError(
            what,
            kind="truncated",
            expected=f"{8 + length} bytes",
            received=f"{file.size} bytes",
            fix=DOWNLOAD,
        )
    raw = bytearray(length)
    file.read_at(memoryview(raw), 8)
    return bytes(raw)


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """A JSON object without duplicate keys; a tensor's as a `Item`, a third of a dict's size."""
    found: dict[str, Any] = {}
    for place, (key, value) in enumerate(pairs):
        if key in found:
            raise _DuplicateKeyError(key)
        found[key] = value
        pairs[place] = _DONE  # the pairs of a large object go while it grows
    if len(found) == 3 and all(name in found for name in FIELDS):
        return Item.compact(*(found[name] for name in FIELDS))
    return found


_DONE = ("", None)


class _DuplicateKeyError(Exception):
    """Carries the key out of the JSON parser."""


def _decoded(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        what = f'the header of "{name}" is not UTF-8'
        raise HeaderError(what, kind="not_utf8", fix=DOWNLOAD) from None


def _parse_json(name: str, text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text, object_pairs_hook=_object)
    except _DuplicateKeyError as error:
        what = f'"{name}" has the key {shown(error.args[0])} twice in its header'
        raise HeaderError(what, kind="duplicate", fix=DOWNLOAD) from None
    except (ValueError, RecursionError):
        raise HeaderError(
            f'the header of "{name}" is not valid JSON', kind="not_json", fix=DOWNLOAD
        ) from None
    if not isinstance(tree, dict):
        what = f'the header of "{name}" is not a JSON object'
        raise HeaderError(
            what, kind="not_json", expected="an object", received=type(tree).__name__, fix=DOWNLOAD
        )
    for key in tree:
        if not is_name(key):
            what = f'"{name}" has an impossible tensor name'
            expected = f"at most {_MAX_NAME} printable characters"
            raise HeaderError(
                what, kind="bad_name", expected=expected, received=shown(key), fix=DOWNLOAD
            )
    return tree


def _metadata(name: str, item: Any) -> dict[str, str]:
    if item is None:
        return {}
    if isinstance(item, dict) and len(item) > MAX_METADATA:
        raise too_large(name, "metadata entries", MAX_METADATA, len(item))
    if isinstance(item, dict) and all(_is_text(text) for pair in item.items() for text in pair):
        return dict(item)
    what = f'the metadata of "{name}" is not a map of strings'
    raise HeaderError(
        what, kind="bad_metadata", fix="Write it again with strings only, or remove __metadata__."
    )


def _check_cover(name: str, infos: Mapping[str, TensorInfo], data_start: int, size: int) -> None:
    end, last = data_start, ""
    for key, info in infos.items():
        if info.start < end:
            what = f'tensors {shown(last)} and {shown(key)} in "{name}" overlap'
            raise HeaderError(what, kind="overlap", expected=end, received=info.start, fix=DOWNLOAD)
        if info.start > end:
            what = f'"{name}" has a hole before tensor {shown(key)}'
            raise HeaderError(what, kind="hole", expected=end, received=info.start, fix=DOWNLOAD)
        end, last = info.stop, key
    if end != size:
        short = "is truncated" if end > size else "has bytes that belong to no tensor"
        raise HeaderError(
            f'"{name}" {short}',
            kind="truncated" if end > size else "hole",
            expected=f"{end} bytes",
            received=f"{size} bytes",
            fix=DOWNLOAD,
        )


def is_name(value: object) -> bool:
    """Whether this is text of at most 1000 characters that `is_showable`."""
    return isinstance(value, str) and len(value) <= _MAX_NAME and is_showable(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not _SURROGATE.search(value)
