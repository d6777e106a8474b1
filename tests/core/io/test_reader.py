"""Reading is exact, in any pieces, and notices when the file changes."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import FileChangedError, FileError
from orthomerge_core.io import bytesource
from orthomerge_core.io.hashing import tensor_hash
from orthomerge_core.io.reader import SafetensorsSource

BYTES = torch.arange(256, dtype=torch.uint8)
TENSORS = {
    "f64": torch.randn(7, dtype=torch.float64),
    "f32": torch.randn(33, 70),
    "f16": torch.randn(3, 5, 7).half(),
    "bf16": torch.randn(1000).bfloat16(),
    "e4m3": BYTES.clone().view(torch.float8_e4m3fn),
    "e5m2": BYTES.clone().view(torch.float8_e5m2),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "no_halves": torch.zeros(2, 0).bfloat16(),
}
OTHERS = {
    "i64": torch.arange(5),
    "i8": torch.arange(5, dtype=torch.int8),
    "bool": torch.tensor([True, False, True]),
    "c64": torch.randn(3, dtype=torch.complex64),
    "no_ints": torch.zeros(0, dtype=torch.int64),
}


@pytest.fixture
def path(tmp_path):
    save_file({**TENSORS, **OTHERS}, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


@pytest.fixture
def source(path):
    with SafetensorsSource(path) as opened:
        yield opened


def same(a, b):
    """Equal values, NaN in the same places."""
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(0), b.nan_to_num(0))


@pytest.mark.parametrize("key", TENSORS)
def test_floats_are_upcast_exactly(source, key):
    assert source.entries[key].is_float
    assert source.read(key).dtype == torch.float32
    assert same(source.read(key), TENSORS[key].float())


@pytest.mark.parametrize("key", [*TENSORS, *OTHERS])
def test_raw_is_byte_identical_and_hashed(source, key):
    stored = {**TENSORS, **OTHERS}[key]
    raw = source.read_raw(key)
    assert raw.dtype == stored.dtype and raw.shape == stored.shape
    assert tensor_hash(raw) == tensor_hash(stored) == source.tensor_hashes()[key]


@pytest.mark.parametrize("key", OTHERS)
def test_bookkeeping_is_no_weight(source, key):
    assert not source.entries[key].is_float


@pytest.mark.parametrize("buffer_bytes", [8, 64, 1 << 20])
@pytest.mark.parametrize("key", ["f32", "bf16", "e4m3", "f64"])
def test_pieces_and_buffers_change_nothing(source, key, buffer_bytes, monkeypatch):
    monkeypatch.setattr(bytesource, "BUFFER_BYTES", buffer_bytes)
    whole = TENSORS[key].float().reshape(-1)
    out = torch.empty(len(whole))
    for low in range(0, len(whole), 13):
        source.read_into(key, out[low : low + 13], low)
    assert same(out, whole)
    assert source.tensor_hashes()[key] == tensor_hash(TENSORS[key])


def test_reading_out_of_order_is_not_hashed(source):
    source.read_into("f32", torch.empty(10), 50)
    assert "f32" not in source.tensor_hashes()


def test_trusted_hashes_are_not_taken_again(source):
    told = {"bf16": "0" * 32, "elsewhere": "1" * 32}
    source.trust(told)
    source.read("bf16")
    source.read_raw("f32")
    assert source.tensor_hashes() == {"bf16": "0" * 32, "f32": tensor_hash(TENSORS["f32"])}


def test_strided_output(source):
    out = torch.empty(1000, 2)[:, 0]
    source.read_into("bf16", out)
    assert torch.equal(out, TENSORS["bf16"].float())


def test_inference_mode_leaves_no_trace(source):
    with torch.inference_mode():
        source.read("bf16")
    assert torch.equal(source.read("bf16"), TENSORS["bf16"].float())


def test_subnormal_e4m3_and_signed_zero(source):
    bits = source.read("e4m3").view(torch.int32)
    expected = TENSORS["e4m3"].float().view(torch.int32)
    finite = ~TENSORS["e4m3"].float().isnan()
    assert torch.equal(bits[finite], expected[finite])


def test_unknown_key_suggests(source):
    with pytest.raises(FileError, match=r'has no tensor "f33"\. Did you mean "f32"\?'):
        source.read_into("f33", torch.empty(1))


def test_a_shrinking_file_is_an_error_not_a_crash(source, path):
    os.truncate(path, path.stat().st_size - 2000)
    with pytest.raises(FileChangedError, match="shrank while it was read: expected"):
        for key in source.entries:
            source.read_raw(key)


def test_check_unchanged(source, path):
    source.check_unchanged()
    os.utime(path, ns=(1, 1))
    with pytest.raises(FileChangedError, match="was written to after it was opened"):
        source.check_unchanged()
    os.truncate(path, 100)
    with pytest.raises(FileChangedError, match="received 100 bytes"):
        source.check_unchanged()
    path.unlink()
    with pytest.raises(FileChangedError, match="vanished"):
        source.check_unchanged()


def test_fingerprint_follows_the_file(path):
    with SafetensorsSource(path) as first, SafetensorsSource(path) as again:
        assert first.fingerprint() == again.fingerprint()
    os.utime(path, ns=(1, 1))
    with SafetensorsSource(path) as later:
        assert later.fingerprint() != first.fingerprint()


def test_siblings_of_one_archive_have_their_own_fingerprints(tmp_path):
    """Same size, mtime and header, other weights: as after unpacking with stored times."""
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for value, path in enumerate(paths):
        save_file({"w": torch.full((4, 4), float(value))}, path)
        os.utime(path, ns=(1, 1))
    with SafetensorsSource(paths[0]) as one, SafetensorsSource(paths[1]) as other:
        assert one.fingerprint() != other.fingerprint()


def test_threads_share_a_source(source):
    keys = [key for key in TENSORS for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for key, got in zip(keys, pool.map(source.read, keys), strict=True):
            assert same(got, TENSORS[key].float())


def test_closed(path):
    source = SafetensorsSource(path)
    source.close()
    with pytest.raises(FileError, match="already closed"):
        source.read("f32")


def test_without_preadv(source, monkeypatch):
    monkeypatch.delattr(os, "preadv", raising=False)
    assert torch.equal(source.read("f32"), TENSORS["f32"])
