"""The second merge with other alphas computes nothing again, and damage costs only time."""

import os
import tempfile
from pathlib import Path

import pytest
import torch

from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.decomposition_cache import DecompositionCache
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for

PARTS = {"a": torch.arange(12.0).view(3, 4), "b": torch.tensor([1], dtype=torch.int64)}


def merge(family, cache, *rows, **options):
    spec = live_spec(family)
    with plan_merge(recipe_for(spec, *rows, method="orthomerge", options=options), spec) as plan:
        return run_merge(plan, Caches(decompositions=cache)).report.content_hash


def test_round_trip_and_restart(tmp_path):
    DecompositionCache(tmp_path / "new").put("k", PARTS)
    found = DecompositionCache(tmp_path / "new").get("k")
    assert found.keys() == PARTS.keys()
    assert all(torch.equal(found[name], part) for name, part in PARTS.items())


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_entry_is_unknown_and_removed(tmp_path, damage):
    cache = DecompositionCache(tmp_path)
    cache.put("k", PARTS)
    path = next(tmp_path.glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes({"truncate": bytes(data[:-4]), "flip": bytes(data), "empty": b""}[damage])
    assert cache.get("k") is None
    assert not path.exists()


def test_no_flipped_bit_passes_for_the_parts(tmp_path):
    cache = DecompositionCache(tmp_path)
    cache.put("k", PARTS)
    path = tmp_path / "k.safetensors"
    whole = path.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        found = cache.get("k")
        if found is not None:  # a bit that says nothing, such as a space of the header's padding
            assert found.keys() == PARTS.keys(), place
            assert all(torch.equal(found[name], part) for name, part in PARTS.items()), place
    assert cache.misses > len(whole) // 2


def test_every_length_of_a_truncated_file_is_unknown(tmp_path):
    cache = DecompositionCache(tmp_path)
    cache.put("k", PARTS)
    path = tmp_path / "k.safetensors"
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert cache.get("k") is None, size


def test_a_merge_rebuilds_a_damaged_entry(family, tmp_path):
    cache = DecompositionCache(tmp_path)
    first = merge(family, cache, Row("a"), Row("b"))
    for path in tmp_path.glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
    assert merge(family, cache, Row("a"), Row("b")) == first
    assert cache.hits == 0
    assert merge(family, cache, Row("a"), Row("b")) == first
    assert cache.hits == 6


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another user")
def test_a_folder_that_can_only_be_read_still_serves():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = DecompositionCache(folder)
        cache.put("k", PARTS)
        cache.put("damaged", PARTS)
        (folder / "damaged.safetensors").write_bytes(b"no header")
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o644)
        os.seteuid(65534)
        try:
            assert cache.get("k").keys() == PARTS.keys()
            assert cache.get("damaged") is None
            cache.put("new", PARTS)
            assert cache.get("new") is None
        finally:
            os.seteuid(0)
        assert sorted(path.stem for path in folder.iterdir()) == ["damaged", "k"]


def test_the_budget_holds_and_the_longest_unused_goes(tmp_path):
    size = 4096
    cache = DecompositionCache(tmp_path, max_bytes=3 * (size + 400))
    for i, name in enumerate("abc"):
        cache.put(name, {"x": torch.zeros(size // 4)})
        os.utime(tmp_path / f"{name}.safetensors", ns=(i, i))
    assert cache.get("a") is not None  # used now, so "b" is the oldest
    cache.put("d", {"x": torch.zeros(size // 4)})
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["a", "c", "d"]
    cache.put("huge", {"x": torch.zeros(size)})
    assert cache.get("huge") is None


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    cache = DecompositionCache(tmp_path / "file" / "below")
    cache.put("k", PARTS)
    assert cache.get("k") is None


def test_other_alphas_hit_and_give_what_a_fresh_merge_gives(family, tmp_path):
    cache = DecompositionCache(tmp_path)
    merge(family, cache, Row("a"), Row("b"))
    assert (cache.hits, cache.misses) == (0, 6)
    changes = [
        ((Row("a", alpha=0.5), Row("b", alpha=-1.0, repeat=3)), {}),
        ((Row("a", layers="blocks.0=0.3"), Row("b")), {"theta_agg": "max"}),
        ((Row("a"), Row("b")), {"direction_weight": "equal", "residual_agg": "sum"}),
    ]
    for rows, options in changes:
        assert merge(family, cache, *rows, **options) == merge(family, None, *rows, **options)
    assert (cache.hits, cache.misses) == (18, 6)


def test_whatever_a_decomposition_hangs_on_misses(family, tmp_path):
    cache = DecompositionCache(tmp_path)
    merge(family, cache, Row("a"), Row("b"))
    merge(family, cache, Row("b"), Row("a"))
    merge(family, cache, Row("a"))
    merge(family, cache, Row("a"), Row("b"), damping=0.1)
    merge(family, cache, Row("a", "child"), Row("b"))
    family["a"]["final.gate"] += 1
    merge(family, cache, Row("a"), Row("b"))
    assert cache.hits == 5  # all tensors but the one that changed
    assert cache.misses == 5 * 6 + 1
