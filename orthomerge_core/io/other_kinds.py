"""Recognizes other types of files under the name .safetensors, by their first bytes."""

from __future__ import annotations

from ..errors import UnsupportedError

__all__ = ["refuse_other_kinds"]

_OTHER_KINDS = (
    (b"PK\x03\x04", "is a pickle checkpoint (zip) under another name", "pickle"),
    (b"\x80\x02", "is a pickle checkpoint under another name", "pickle"),
    (b"GGUF", "is a GGUF file under another name", "gguf"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the model itself", "lfs"),
    (b"<!doctype", "is a web page, not a model", "page"),
    (b"<html", "is a web page, not a model", "page"),
)
_WAYS_OUT = {
    "pickle": "A pickle can run code when it is opened: convert it to safetensors first.",
    "gguf": "Rename it to .gguf.",
    "lfs": "Fetch the real file with `git lfs pull`.",
    "page": "The download failed or needed a login: download it again.",
}


def refuse_other_kinds(name: str, head: bytes) -> None:
    """Raise `UnsupportedError` where a file's first bytes are those of another kind of file."""
    for magic, what, way in _OTHER_KINDS:
        if head.lower().startswith(magic.lower()):
            raise UnsupportedError(f'"{name}" {what}', fix=_WAYS_OUT[way])
