"""Hashes are XXH3-128 and survive in the memo."""

import torch
import xxhash

from orthomerge_core.io.cache_folder import CacheFolder
from orthomerge_core.io.cachedir import default_cache_dir
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.io.hashing import bytes_hash, content_hash, tensor_hash


def test_xxh3_128():
    assert bytes_hash(b"orthogonal") == xxhash.xxh3_128_hexdigest(b"orthogonal")
    assert tensor_hash(torch.zeros(3, 2).t()) == bytes_hash(b"\0" * 24)


def test_content_hash_is_the_documented_one_and_ignores_order():
    items = {"b": ("F32", (2, 3), "11"), "a": ("BF16", (), "22")}
    assert content_hash(items) == bytes_hash(b"a BF16  22\nb F32 2x3 11\n")
    assert content_hash(dict(reversed(items.items()))) == content_hash(items)


def test_memo_remembers(tmp_path):
    HashMemo(tmp_path / "h").put("f1", {"a": "0" * 32})
    memo = HashMemo(tmp_path / "h")
    memo.put("f1", {"b": "1" * 32})
    assert HashMemo(tmp_path / "h").get("f1") == {"a": "0" * 32, "b": "1" * 32}
    assert memo.get("f2") == {}


def test_memo_ignores_what_is_no_hash(tmp_path):
    folder = CacheFolder(tmp_path, ".hashes", 1 << 20)
    for name, text in {"a": "{", "b": "[1]", "c": '{"k": 7, "ok": "' + "2" * 32 + '"}'}.items():
        folder.put(name, {}, text.encode())
    memo = HashMemo(tmp_path)
    assert memo.get("a") == memo.get("b") == {} and memo.get("c") == {"ok": "2" * 32}


def test_no_flipped_bit_becomes_a_hash(tmp_path):
    """One did: it went into the merged file's header as the hash of its source."""
    HashMemo(tmp_path).put("f", {"a": "0" * 32})
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    for index in range(len(good)):
        for bit in (1, 4, 64):
            bad = bytearray(good)
            bad[index] ^= bit
            path.write_bytes(bad)
            assert HashMemo(tmp_path).get("f") == {}, (index, bit)
    path.write_bytes(good)
    assert HashMemo(tmp_path).get("f") == {"a": "0" * 32}


def test_memo_without_a_place(tmp_path):
    memo = HashMemo(None)
    memo.put("f", {"a": "0" * 32})
    assert memo.get("f") == {"a": "0" * 32}
    (tmp_path / "file").write_text("")
    HashMemo(tmp_path / "file").put("f", {"a": "0" * 32})
    assert (tmp_path / "file").read_text() == ""


def test_memo_stays_small(tmp_path):
    memo = HashMemo(tmp_path, max_bytes=300)
    for i in range(6):
        memo.put(f"f{i}", {"a": "0" * 32})
    assert len(list(tmp_path.iterdir())) == 3


def test_cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOMERGE_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("ORTHOMERGE_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_cache_dir() == tmp_path / "x" / "orthomerge"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "y"))
    assert default_cache_dir() == tmp_path / "y" / "orthomerge"
