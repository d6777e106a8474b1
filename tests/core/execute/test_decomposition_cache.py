"""The second merge with other alphas computes nothing again, and damage costs only time."""

import pytest
import torch

from orthomerge_core.execute.decomposition_cache import DecompositionCache
from orthomerge_core.execute.plan import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.execute.sinks import StateDictSink
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for

PARTS = {"a": torch.arange(12.0).view(3, 4), "b": torch.tensor([1], dtype=torch.int64)}


def merge(family, cache, *rows, **options):
    spec = live_spec(family)
    with plan_merge(recipe_for(spec, *rows, method="orthomerge", options=options), spec) as plan:
        return run_merge(plan, StateDictSink(), cache=cache).content_hash


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


def test_the_budget_holds_and_the_longest_unused_goes(tmp_path):
    import os

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
