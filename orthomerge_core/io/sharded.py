"""A model in several safetensors files, with or without its index, as one source."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from ..errors import FileError, HeaderError
from .bytesource import ByteSource
from .hashing import bytes_hash
from .header import TensorInfo, is_name
from .limits import MAX_HEADER_BYTES, MAX_TENSORS, check_json_size, too_large
from .paths import is_file
from .rawfile import RawFile
from .reader import SafetensorsSource

__all__ = ["SHARD", "ShardedSource", "shard_files"]

SHARD = re.compile(r"^(?P<stem>.+)-(?P<part>\d{5,})-of-(?P<parts>\d{5,})\.(safetensors|sft)$", re.I)
_AGAIN = "Download the complete set of files again."
_MAX_PARTS = 1000


def shard_files(path: Path) -> tuple[list[str], Mapping[str, str] | None]:
    """The file names of a sharded model, and tensor → file name if an index says so.

    Args:
        path: an index, or any one of the shards.
    """
    match = SHARD.match(path.name)
    index = path
    if match:
        index = path.with_name(f"{match['stem']}.safetensors.index.json")
        if not is_file(index):
            return _numbered(match), None
    where = _read_index(index)
    return sorted(set(where.values())), where


def _numbered(match: re.Match[str]) -> list[str]:
    count, digits = int(match["parts"]), len(match["part"])
    if not 1 <= int(match["part"]) <= count <= _MAX_PARTS:
        what = f'"{match[0]}" has an impossible number of parts'
        raise HeaderError(
            what, kind="index", expected=f"1 to {_MAX_PARTS}", received=count, fix="Rename it."
        )
    suffix = match[0].rpartition(".")[2]
    return [
        f"{match['stem']}-{part:0{digits}d}-of-{match['parts']}.{suffix}"
        for part in range(1, count + 1)
    ]


def _read_index(path: Path) -> dict[str, str]:
    file = RawFile(path)
    try:
        if file.size > MAX_HEADER_BYTES:
            raise too_large(path.name, "bytes", MAX_HEADER_BYTES, file.size)
        raw = bytearray(file.size)
        file.read_at(memoryview(raw), 0)
    finally:
        file.close()
    check_json_size(path.name, bytes(raw))
    try:
        tree = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise HeaderError(
            f'the index "{path.name}" is not valid JSON', kind="index", fix=_AGAIN
        ) from None
    where = tree.get("weight_map") if isinstance(tree, dict) else None
    if not isinstance(where, dict) or not where:
        what = f'the index "{path.name}" lists no tensors'
        raise HeaderError(what, kind="index", expected='{"weight_map": {…}}', fix=_AGAIN)
    if len(where) > MAX_TENSORS:
        raise too_large(path.name, "tensors", MAX_TENSORS, len(where))
    if len(set(map(str, where.values()))) > _MAX_PARTS:
        raise too_large(path.name, "parts", _MAX_PARTS, "more")
    for key, name in where.items():
        if (
            not is_name(key)
            or not is_name(name)
            or not re.fullmatch(r"[^/\\:\0]+\.(safetensors|sft)", name)
        ):
            raise HeaderError(
                f'the index "{path.name}" names a file that cannot belong to it',
                kind="index",
                expected="a .safetensors file in the same folder",
                received=json.dumps(name)[:80],
                fix=_AGAIN,
            )
    return where


class ShardedSource(ByteSource):
    """The tensors of all parts of a model.

    Args:
        path: the index, or any one of the shards.
        name: what messages call the whole; the file's name by default.

    Raises:
        FileError: a part is missing. HeaderError: index and parts contradict each other.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        shown = name or path.name
        files, where = shard_files(path)
        with ExitStack() as opened:
            parts = {file: _open_part(path, file, shown, opened) for file in files}
            infos, self._homes = _gather(shown, parts, where)
            metadata = {k: v for part in reversed(parts.values()) for k, v in part.metadata.items()}
            super().__init__(shown, infos, metadata)
            self._parts = tuple(parts.values())
            opened.pop_all()

    def pread(self, key: str, buffer: memoryview, start: int) -> None:
        """See `ByteSource`."""
        self._homes[key].pread(key, buffer, start)

    def fingerprint(self) -> str:
        """See `Source`: the parts' fingerprints, hashed."""
        return bytes_hash(" ".join(part.fingerprint() for part in self._parts).encode())

    def check_unchanged(self) -> None:
        """See `Source`."""
        for part in self._parts:
            part.check_unchanged()

    def close(self) -> None:
        """See `Source`."""
        for part in self._parts:
            part.close()


def _open_part(path: Path, file: str, shown: str, opened: ExitStack) -> SafetensorsSource:
    part = path.with_name(file)
    if not is_file(part):
        what = f'"{shown}" is a model in several files, and one is missing'
        raise FileError(what, expected=f'"{file}" beside it', fix=_AGAIN)
    return opened.enter_context(SafetensorsSource(part))


def _gather(
    shown: str, parts: Mapping[str, SafetensorsSource], where: Mapping[str, str] | None
) -> tuple[dict[str, TensorInfo], dict[str, SafetensorsSource]]:
    infos: dict[str, TensorInfo] = {}
    homes: dict[str, SafetensorsSource] = {}
    for file, part in parts.items():
        for key, info in part.infos.items():
            if where is not None and where.get(key) != file:
                continue  # the index decides
            if key in homes:
                what = f'"{shown}" has the tensor "{key}" in two of its files'
                raise HeaderError(
                    what, kind="duplicate", received=f"{homes[key].name}, {file}", fix=_AGAIN
                )
            infos[key], homes[key] = info, part
    for key, file in (where or {}).items():
        if key not in homes:
            what = f'the index of "{shown}" puts "{key}" into a file that lacks it'
            raise HeaderError(what, kind="index", received=file, fix=_AGAIN)
    return infos, homes
