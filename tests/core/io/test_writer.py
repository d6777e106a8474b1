"""A written file is complete or absent, and always the same bytes."""

import errno
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from orthomerge_core.errors import WriteError
from orthomerge_core.io import writer as writer_module
from orthomerge_core.io.dtypes import dtype_of
from orthomerge_core.io.header import read_header
from orthomerge_core.io.writer import SafetensorsWriter

TENSORS = {
    "z.weight": torch.randn(4, 3).bfloat16(),
    "a.weight": torch.randn(5),
    "ids": torch.arange(3),
    "flag": torch.tensor([True, False, True]),
    "w8": torch.randn(7).to(torch.float8_e4m3fn),
    "c": torch.randn(2, dtype=torch.complex64),
    "scalar": torch.tensor(1.5).half(),
    "none": torch.zeros(0, 2),
}
LAYOUT = {name: (dtype_of(t), tuple(t.shape)) for name, t in TENSORS.items()}


def write(path, tensors=TENSORS, metadata=None, **options):
    with SafetensorsWriter(path, LAYOUT, metadata or {"k": "größe"}, **options) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
        writer.finish()


def test_same_bytes_as_safetensors(tmp_path):
    write(tmp_path / "ours.safetensors")
    save_file(TENSORS, tmp_path / "theirs.safetensors", {"k": "größe"})
    ours, theirs = (tmp_path / f"{n}.safetensors" for n in ("ours", "theirs"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_order_of_writing_changes_nothing(tmp_path):
    write(tmp_path / "a.safetensors")
    write(tmp_path / "b.safetensors", dict(reversed(TENSORS.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_threads_share_a_writer(tmp_path):
    with (
        SafetensorsWriter(tmp_path / "m.safetensors", LAYOUT, {}) as writer,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(writer.write, TENSORS, TENSORS.values()))
        writer.finish()
    save_file(TENSORS, tmp_path / "theirs.safetensors")
    both = [(tmp_path / f"{n}.safetensors").read_bytes() for n in ("m", "theirs")]
    assert both[0] == both[1]


def test_chunks_and_patch(tmp_path):
    path, weight = tmp_path / "m.safetensors", torch.randn(100)
    with SafetensorsWriter(path, {"w": ("F32", (10, 10))}, {"hash": "0" * 4}) as writer:
        writer.write_flat("w", weight[60:], 60)
        writer.write_flat("w", weight[:60], 0)
        writer.finish({"hash": "beef"})
    assert torch.equal(load_file(path)["w"], weight.view(10, 10))
    assert read_header(path).metadata == {"hash": "beef"}


def test_patch_of_another_length_is_refused(tmp_path):
    with (
        SafetensorsWriter(tmp_path / "m.safetensors", {}, {"hash": "0000"}) as writer,
        pytest.raises(WriteError, match="same length"),
    ):
        writer.finish({"hash": "00000"})
    assert list(tmp_path.iterdir()) == []


def test_gaps_leave_nothing(tmp_path):
    with (
        SafetensorsWriter(tmp_path / "m.safetensors", LAYOUT, {}) as writer,
        pytest.raises(WriteError, match="were not written"),
    ):
        writer.write_flat("a.weight", torch.zeros(4), 0)
        writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_leaves_nothing(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        SafetensorsWriter(tmp_path / "m.safetensors", LAYOUT, {}) as writer,
    ):
        writer.write("a.weight", TENSORS["a.weight"])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_overwriting_only_when_asked(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(WriteError) as caught:
        write(path)
    assert str(caught.value) == (
        '"m.safetensors" exists already. Choose another name, or allow overwriting.'
    )
    assert path.read_bytes() == b"precious"
    write(path, overwrite=True)
    assert torch.equal(load_file(path)["ids"], TENSORS["ids"])


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "m.safetensors"
    with SafetensorsWriter(path, {}, {}) as writer:
        path.write_bytes(b"precious")
        with pytest.raises(WriteError, match="exists already"):
            writer.finish()
    assert path.read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 1


def test_wrong_tensors(tmp_path):
    with SafetensorsWriter(tmp_path / "m.safetensors", LAYOUT, {}) as writer:
        with pytest.raises(WriteError, match="was not announced"):
            writer.write("b", torch.zeros(1))
        with pytest.raises(WriteError, match=r"another shape.*expected \[5\], received \[6\]"):
            writer.write("a.weight", torch.zeros(6))
        with pytest.raises(WriteError, match="expected F32, 20 bytes, received F16"):
            writer.write("a.weight", torch.zeros(5).half())
        with pytest.raises(WriteError, match="bytes 16 to 24"):
            writer.write_flat("a.weight", torch.zeros(2), 4)


def test_no_folder(tmp_path):
    with pytest.raises(WriteError, match="cannot be written: received No such file"):
        write(tmp_path / "nowhere" / "m.safetensors")


def test_no_room(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
    words = r"expected 1 MiB free, received 0 MiB"
    with pytest.raises(WriteError, match=words):
        write(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="pwrite is how this system writes")
def test_disk_full_while_writing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with SafetensorsWriter(tmp_path / "m.safetensors", LAYOUT, {}) as writer:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(WriteError, match="disk is full while writing"):
            writer.write("a.weight", TENSORS["a.weight"])
    assert list(tmp_path.iterdir()) == []


def test_without_pwrite(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "pwrite", raising=False)
    write(tmp_path / "m.safetensors")
    assert torch.equal(load_file(tmp_path / "m.safetensors")["a.weight"], TENSORS["a.weight"])


@pytest.mark.skipif(sys.platform != "linux", reason="the advice is Linux's")
def test_the_disk_begins_before_the_end_and_each_byte_once(tmp_path, monkeypatch):
    spans, size = [], 2 * writer_module._WRITEBACK_BYTES + 5000
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _fd, low, count, _kind: spans.append((low, count))
    )
    tensor = torch.arange(size, dtype=torch.uint8)
    with SafetensorsWriter(tmp_path / "a.safetensors", {"a": ("U8", (size,))}, {}) as writer:
        for start in range(0, size, 3_000_001):
            writer.write_flat("a", tensor[start : start + 3_000_001], start)
        begin = writer.infos["a"].start
        writer.finish()
    ends = [low + count for low, count in spans]
    assert len(spans) > 1 and [low for low, _ in spans] == [begin, *ends[:-1]]
    assert ends[-1] == begin + size
