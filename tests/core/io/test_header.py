"""One error per way in which a header can be wrong, and its words."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import FileError, HeaderError, UnsupportedError
from orthomerge_core.io.header import read_header


def write(tmp_path, tree, data=b"", name="m.safetensors"):
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    path = tmp_path / name
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(dtype="F32", shape=(1,), offsets=(0, 4), **extra):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **extra}


def test_reads_what_safetensors_writes(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"b": torch.zeros(2, 3), "a": torch.ones(5).bfloat16()}, path, {"k": "v"})
    header = read_header(path)
    assert header.metadata == {"k": "v"}
    assert header.tensors["a"].dtype == "BF16" and header.tensors["a"].shape == (5,)
    assert header.tensors["b"].n_bytes == 24
    assert header.data_start % 8 == 0 and header.file_size == path.stat().st_size


def test_empty_and_scalar_tensors_are_fine(tmp_path):
    tree = {"s": tensor(shape=(), offsets=(0, 4)), "z": tensor(shape=(0, 7), offsets=(4, 4))}
    assert read_header(write(tmp_path, tree, b"\0" * 4)).tensors["z"].shape == (0, 7)


def test_null_metadata_is_none(tmp_path):
    assert read_header(write(tmp_path, {"__metadata__": None})).metadata == {}


WRONG = {
    "not json": (b"{oops", b"", "not valid JSON"),
    "not utf-8": (b'{"\xff": 1}', b"", "not UTF-8"),
    "too deep": (b"[" * 100_000, b"", "not valid JSON"),
    "not an object": (b"[1]", b"", "not a JSON object: expected an object, received list"),
    "key twice": (b'{"a": 1, "a": 2}', b"", 'has the key "a" twice'),
    "lone surrogate": (b'{"\\ud800": 1}', b"", "impossible tensor name"),
    "endless name": ({"a" * 1001: 1}, b"", "expected at most 1000 printable characters"),
    "name with a line end": ({"a\nb": 1}, b"", r'received "a\nb"'),
    "metadata number": ({"__metadata__": {"a": 1}}, b"", "not a map of strings"),
    "metadata list": ({"__metadata__": [1]}, b"", "not a map of strings"),
    "no offsets": (
        {"a": {"dtype": "F32", "shape": [1]}},
        b"",
        'tensor "a" in "m.safetensors" is inc',
    ),
    "not a tensor": ({"a": 7}, b"", "expected dtype, shape and data_offsets, received 7"),
    "unknown dtype": ({"a": tensor("F99")}, b"\0" * 4, "unknown dtype: expected one of BOOL"),
    "dtype no text": ({"a": tensor([1])}, b"\0" * 4, "received [1]"),
    "negative size": ({"a": tensor(shape=(-1,))}, b"\0" * 4, "impossible shape"),
    "fractional size": ({"a": tensor(shape=(1.0,))}, b"\0" * 4, "received [1.0]"),
    "boolean size": ({"a": tensor(shape=(True,))}, b"\0" * 4, "received [true]"),
    "huge shape": ({"a": tensor(shape=(2**40, 2**40))}, b"\0" * 4, "impossible shape"),
    "huge beside 0": ({"a": tensor(shape=(2**62, 0), offsets=(0, 0))}, b"", "impossible shape"),
    "65 axes": ({"a": tensor(shape=(1,) * 65)}, b"\0" * 4, "at most 64"),
    "offsets backwards": ({"a": tensor(offsets=(4, 0))}, b"\0" * 4, "impossible offsets"),
    "three offsets": ({"a": tensor(offsets=(0, 4, 8))}, b"\0" * 4, "impossible offsets"),
    "size lies": (
        {"a": tensor(shape=(2,))},
        b"\0" * 4,
        "expected 8 bytes for F32 [2], received 4 bytes",
    ),
    "half a byte": (
        {"a": tensor("F4", (1,), (0, 1))},
        b"\0",
        "does not fill whole bytes: expected an even",
    ),
    "overlap": (
        {"a": tensor(), "b": tensor(offsets=(2, 6))},
        b"\0" * 6,
        'tensors "a" and "b" in "m.safetensors" overlap',
    ),
    "hole": ({"a": tensor(offsets=(4, 8))}, b"\0" * 8, 'a hole before tensor "a"'),
    "truncated": ({"a": tensor()}, b"\0" * 3, '"m.safetensors" is truncated: expected'),
    "trailing bytes": ({"a": tensor()}, b"\0" * 5, "bytes that belong to no tensor"),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_lie_has_its_own_words(tmp_path, case):
    tree, data, words = WRONG[case]
    with pytest.raises(HeaderError) as caught:
        read_header(write(tmp_path, tree, data))
    message = str(caught.value)
    assert words in message and "\n" not in message
    assert message.endswith(".") and str(tmp_path) not in message


def test_too_short(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"\1\2")
    with pytest.raises(HeaderError, match="too short to be a safetensors file: expected 8 bytes"):
        read_header(path)


def test_header_longer_than_the_file(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 5000) + b"{}")
    with pytest.raises(
        HeaderError, match="truncated in its header: expected 5008 bytes, received 10"
    ):
        read_header(path)


def test_impossible_header_length_allocates_nothing(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(HeaderError, match="impossible header length"):
        read_header(path)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\x03\x04\0\0\x08\x08", "pickle checkpoint (zip) under another name"),
        (b"\x80\x02}q\0X\0\0", "convert it to safetensors first"),
        (b"GGUF\3\0\0\0", "Rename it to .gguf"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html>", "download it again"),
    ],
)
def test_other_kinds_under_this_name(tmp_path, head, words):
    path = tmp_path / "m.safetensors"
    path.write_bytes(head + b"\0" * 32)
    with pytest.raises(UnsupportedError) as caught:
        read_header(path)
    assert words in str(caught.value)


def test_missing_file_names_no_path(tmp_path):
    with pytest.raises(FileError) as caught:
        read_header(tmp_path / "gone.safetensors")
    assert str(caught.value) == '"gone.safetensors" does not exist. Check the name and the folder.'
