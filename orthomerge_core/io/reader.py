"""A safetensors file as a source: opened once, validated completely, read at offsets."""

from __future__ import annotations

from pathlib import Path

from .bytesource import ByteSource
from .hashing import Hasher
from .header import parse_header
from .rawfile import RawFile

__all__ = ["SafetensorsSource"]


class SafetensorsSource(ByteSource):
    """The tensors of one `.safetensors` file, as stored; quantization is another layer on top.

    Nothing is mapped into memory and nothing is kept but the header and a buffer of at most 1 MiB
    per thread.

    Args:
        path: the file.
        name: what messages call it; the file's name by default.

    Raises:
        FileError: it cannot be opened. HeaderError, UnsupportedError: see `header.read_header`.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self._file = RawFile(path, name)
        try:
            header = parse_header(self._file)
        except BaseException:
            self._file.close()
            raise
        super().__init__(self._file.name, header.tensors, header.metadata)
        self._header = header

    def pread(self, key: str, buffer: memoryview, start: int) -> None:
        """See `ByteSource`."""
        self._file.read_at(buffer, self.infos[key].start + start)

    def fingerprint(self) -> str:
        """See `Source`: XXH3-128 of the inode, size, times and header."""
        hasher = Hasher()
        hasher.update(self._file.identity.encode())
        hasher.update(self._header.digest.encode())
        return hasher.hexdigest()

    def check_unchanged(self) -> None:
        """See `Source`."""
        self._file.check_unchanged()

    def close(self) -> None:
        """See `Source`."""
        self._file.close()
