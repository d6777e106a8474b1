"""Only regular files are opened, and limits hold before memory is spent."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import tracemalloc

import pytest

from orthomerge_core.errors import FileChangedError, FileError, HeaderError
from orthomerge_core.io import gguf_header, header, limits
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.rawfile import RawFile

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def safetensors(path, text: str | bytes, data: bytes = b""):
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def many(count: int) -> str:
    """A header of realistic names."""
    tree = {
        f"model.diffusion_model.double_blocks.{n // 20}.img_attn.layer.{n % 20}.weight": {
            "dtype": "F32",
            "shape": [1, 1],
            "data_offsets": [4 * n, 4 * n + 4],
        }
        for n in range(count)
    }
    return json.dumps(tree)


def refused(path) -> HeaderError:
    with pytest.raises(HeaderError) as caught:
        open_source(path).close()
    return caught.value


NAMES = [
    "m.safetensors",
    "m.gguf",
    "m-00001-of-00002.safetensors",
    "m.safetensors.index.json",
]


@POSIX
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_only_regular_files_are_opened(tmp_path, monkeypatch, name, kind):
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(name)
    with pytest.raises(FileError) as caught:
        open_source(path)
    assert f'"{name}"' in str(caught.value)
    assert any(w in str(caught.value) for w in (f"received a {kind}", "is a folder"))


@POSIX
def test_a_pipe_as_the_second_shard_is_refused(tmp_path):
    first = tmp_path / "m-00001-of-00002.safetensors"
    safetensors(first, json.dumps({}))
    os.mkfifo(tmp_path / "m-00002-of-00002.safetensors")
    with pytest.raises(FileError, match="model in several files, and one is missing"):
        open_source(first)


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_noticed(tmp_path):
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for target in (path, other):
        safetensors(target, many(1), b"\0" * 4)
        os.utime(target, ns=(10**18, 10**18))
    with open_source(path) as source:
        source.check_unchanged()
        other.replace(path)
        with pytest.raises(FileChangedError, match="was replaced by another file"):
            source.check_unchanged()


def test_a_file_written_in_place_with_its_time_set_back_is_noticed(tmp_path):
    path = safetensors(tmp_path / "a.safetensors", many(1), b"\0" * 4)
    os.utime(path, ns=(10**18, 10**18))
    with open_source(path) as source:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\1")
        os.utime(path, ns=(10**18, 10**18))
        if sys.platform != "win32":  # ctime is the time of creation there
            with pytest.raises(FileChangedError, match="was written to"):
                source.check_unchanged()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a":[' + "[]," * 300_000 + "[]]}", "too many lists: expected at most 200008"),
        ('{"a":[' + "{}," * 300_000 + "{}]}", "too many objects: expected at most 100008"),
        ('{"a":[' + "1," * 1_100_000 + "1]}", "too many values"),
        ('{"a":[' + '"",' * 700_000 + '""]}', "too many strings"),
        ('{"a":' + "[" * 150_000 + "]" * 150_000 + "}", "is not valid JSON"),
        (
            json.dumps({"__metadata__": {f"k{n}": "" for n in range(10_001)}}),
            "too many metadata entries: expected at most 10000, received 10001",
        ),
    ],
)
def test_structure_is_counted_before_it_is_parsed(tmp_path, text, words):
    error = refused(safetensors(tmp_path / "m.safetensors", text))
    assert words in str(error)
    assert error.kind in ("too_large", "not_json")


def test_brackets_within_strings_are_no_structure(tmp_path):
    workflow = json.dumps([[{"a": '"\\'}] * 3] * 100_000)
    text = json.dumps({"__metadata__": {"workflow": workflow}})
    with open_source(safetensors(tmp_path / "m.safetensors", text)) as source:
        assert source.metadata["workflow"] == workflow


def test_too_many_tensors(tmp_path, monkeypatch):
    monkeypatch.setattr(header, "MAX_TENSORS", 10)
    path = safetensors(tmp_path / "m.safetensors", many(11), b"\0" * 44)
    assert "too many tensors: expected at most 10, received 11" in str(refused(path))


def test_a_header_of_impossible_length(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", limits.MAX_HEADER_BYTES + 1))
        file.truncate(limits.MAX_HEADER_BYTES + 100)
    error = refused(path)
    assert error.kind == "too_large" and "impossible header length" in str(error)


def terse(count: int) -> str:
    """The shortest header of so many tensors."""
    tree = {
        str(n): {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]}
        for n in range(count)
    }
    return json.dumps(tree, separators=(",", ":"))


@pytest.mark.parametrize(
    ("text", "tensors"),
    [
        (many(5_000), 5_000),
        (terse(20_000), 20_000),
        (json.dumps({"__metadata__": {"a": "x" * 900_000}}), 0),
    ],
    ids=["realistic", "terse", "metadata"],
)
def test_memory_for_a_header_is_bounded_by_its_bytes(tmp_path, text, tensors):
    size = 4 * tensors
    path = safetensors(tmp_path / "m.safetensors", text, b"\0" * size)
    open_source(path).close()  # what is imported and compiled once
    tracemalloc.start()
    try:
        source = open_source(path)
        peak = tracemalloc.get_traced_memory()[1]
        source.close()
    finally:
        tracemalloc.stop()
    assert peak <= 8 * len(text) + 200_000


def gguf(path, n_tensors=0, n_fields=0, body=b"", size=None):
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_fields) + body)
        if size is not None:
            file.truncate(size)
    return path


def words_field(count):
    return struct.pack("<Q1sIIQ", 1, b"w", 9, 8, count)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ({"n_fields": 2**63}, "too many fields: expected at most 10000"),
        ({"n_tensors": 7_000_000}, "too many tensors: expected at most 100000, received 7000000"),
        (
            {"n_fields": 1, "body": words_field(12_000_000)},
            "too many words in its arrays: expected at most 1500000",
        ),
        ({"n_fields": 1, "body": struct.pack("<Q", 1 << 27)}, "too many bytes: expected at most"),
    ],
)
def test_a_sparse_gguf_ends_at_its_limits(tmp_path, build, words):
    """The file is as long as it says, so that only the limits can stop the reader."""
    error = refused(gguf(tmp_path / "m.gguf", size=1 << 28, **build))
    assert words in str(error) and error.kind == "too_large"


def test_words_are_passed_over_without_reading_each(tmp_path, monkeypatch):
    taken = []
    take = gguf_header._Cursor.take
    monkeypatch.setattr(
        gguf_header._Cursor, "take", lambda self, n: taken.append(n) or take(self, n)
    )
    counts = []
    for words in (1_000, 10_000):
        taken.clear()
        body = words_field(words) + struct.pack("<Q3s", 3, b"abc") * words
        with open_source(gguf(tmp_path / "m.gguf", 0, 1, body)) as source:
            assert not source.entries
        counts.append(len(taken))
    assert counts[1] <= counts[0] + 10


def test_a_quantized_gguf_tensor_without_elements(tmp_path):
    pytest.importorskip("gguf")
    body = struct.pack("<Q1sIQIQ", 1, b"t", 1, 0, 2, 0)  # Q4_0 [0]
    error = refused(gguf(tmp_path / "m.gguf", 1, 0, body, size=4096))
    assert "is quantized and has no elements" in str(error) and error.kind == "bad_shape"


def test_an_index_beyond_its_limits(tmp_path):
    path = tmp_path / "m.safetensors.index.json"
    with path.open("wb") as file:
        file.truncate(limits.MAX_HEADER_BYTES + 1)
    assert "too many bytes" in str(refused(path))
    path.write_text(json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(1001)}}))
    assert "too many parts: expected at most 1000" in str(refused(path))


def test_every_kind_is_one_that_callers_know():
    with pytest.raises(ValueError, match="odd is not a kind"):
        HeaderError("x", kind="odd")
    assert HeaderError("x", kind="hole").to_json() == {
        "error": "HeaderError",
        "message": "x.",
        "kind": "hole",
    }


def test_a_raw_file_says_what_it_is(tmp_path):
    with pytest.raises(FileError, match="expected a regular file, received a folder"):
        RawFile(tmp_path)
