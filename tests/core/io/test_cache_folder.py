"""Entries of a cache: what does not fit its key and its checksum is unknown."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.io.cache_folder import CacheFolder


def folder(path, max_bytes=1 << 20):
    return CacheFolder(path, ".entry", max_bytes)


def test_an_entry_comes_back(tmp_path):
    folder(tmp_path / "new").put("k", {"rows": ["a"]}, b"pay\nload")
    cache = folder(tmp_path / "new")
    assert cache.get("k") == b"pay\nload"
    assert cache.about(cache.path("k")) == {"rows": ["a"], "key": "k"}
    assert cache.get("other") is None


@given(
    payload=st.binary(max_size=40),
    place=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
)
def test_any_changed_byte_makes_it_unknown_and_gone(tmp_path_factory, payload, place, flip):
    path = tmp_path_factory.mktemp("cache")
    cache = folder(path)
    cache.put("k", {"about": 1}, payload)
    data = bytearray(cache.path("k").read_bytes())
    data[int(place * len(data))] ^= flip
    cache.path("k").write_bytes(data)
    assert cache.get("k") is None
    assert not cache.path("k").exists()


@pytest.mark.parametrize("cut", [0, 10, 33, 40, -1])
def test_a_truncated_entry_is_unknown(tmp_path, cut):
    cache = folder(tmp_path)
    cache.put("k", {}, b"payload")
    data = cache.path("k").read_bytes()
    cache.path("k").write_bytes(data[:cut])
    assert cache.get("k") is None


def test_an_entry_under_another_key_is_unknown(tmp_path):
    cache = folder(tmp_path)
    cache.put("k", {}, b"payload")
    shutil.copy(cache.path("k"), cache.path("other"))
    assert cache.get("other") is None
    assert cache.get("k") == b"payload"


def test_the_longest_unused_go_first(tmp_path):
    cache = folder(tmp_path, 480)
    for age, key in enumerate("abc"):
        cache.put(key, {}, b"x" * 100)
        os.utime(cache.path(key), (1000 + age, 1000 + age))
    assert cache.get("a") is not None  # used just now
    cache.put("d", {}, b"x" * 100)
    assert [key for key in "abcd" if cache.path(key).exists()] == ["a", "c", "d"]


def test_a_folder_deleted_in_between_is_made_again(tmp_path):
    cache = folder(tmp_path / "c")
    cache.put("k", {}, b"1")
    shutil.rmtree(tmp_path / "c")
    assert cache.get("k") is None and cache.paths() == []
    cache.put("k", {}, b"2")
    assert cache.get("k") == b"2"
