"""Hashes are XXH3-128 and survive in the memo."""

import torch
import xxhash

from orthomerge_core.io.cachedir import default_cache_dir
from orthomerge_core.io.hashing import HashMemo, bytes_hash, content_hash, tensor_hash


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


def test_memo_ignores_corruption(tmp_path):
    for name, text in {"a": "{", "b": "[1]", "c": '{"k": 7, "ok": "' + "2" * 32 + '"}'}.items():
        (tmp_path / f"{name}.json").write_text(text)
    memo = HashMemo(tmp_path)
    assert memo.get("a") == memo.get("b") == {} and memo.get("c") == {"ok": "2" * 32}


def test_memo_without_a_place(tmp_path):
    memo = HashMemo(None)
    memo.put("f", {"a": "0" * 32})
    assert memo.get("f") == {"a": "0" * 32}
    (tmp_path / "file").write_text("")
    HashMemo(tmp_path / "file").put("f", {"a": "0" * 32})
    assert (tmp_path / "file").read_text() == ""


def test_memo_stays_small(tmp_path):
    memo = HashMemo(tmp_path, max_files=3)
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
