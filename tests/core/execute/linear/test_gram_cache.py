"""A merge of rows that were merged before reads each tensor once, and makes the same bytes."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import FileChangedError
from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.linear import merge as linear
from orthomerge_core.execute.linear.gram_cache import GramCache
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.io.hashing import bytes_hash
from orthomerge_core.keys.opening import spec_from_paths
from orthomerge_core.progress import Progress
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.execute.conftest import base_tensors, live_spec, recipe_for, tuned

ROWS = (Row("a"), Row("child", "a", alpha=0.6), Row("b", alpha=-0.3, repeat=2))
PROJECTION = "orthogonal_projection"


class Counter(Progress):
    def __init__(self):
        self.total = self.done = 0.0

    def start(self, total, label):
        self.total += total

    def advance(self, amount):
        self.done += amount


def merge(spec, cache, *rows, progress=None, memo=None, **fields):
    """The report, and how often each model's tensors were read, where the sources count that."""
    with plan_merge(recipe_for(spec, *rows, **{"method": PROJECTION, **fields}), spec) as plan:
        report = run_merge(plan, Caches(memo=memo, grams=cache), progress=progress).report
        tensors = len(plan.tensors)
        reads = [len(getattr(m.source, "reads", ())) / tensors for m in plan.models]
    return report, reads


@pytest.fixture
def cache(tmp_path):
    return GramCache(tmp_path / "grams")


@pytest.fixture
def known(family, cache):
    """The cache after a merge of `ROWS`."""
    _, reads = merge(live_spec(family), cache, *ROWS)
    assert reads == [2.0] * 3
    return cache


AGAIN = {
    "alphas": ((Row("a", alpha=0.2), ROWS[1], Row("b", alpha=2.0)), {}),
    "layers": ((Row("a", layers="*attn*=0, default=0.4"), *ROWS[1:]), {}),
    "few tensors": (tuple(replace(r, layers="*attn*=1, default=0") for r in ROWS), {}),
    "order": (ROWS[::-1], {}),
    "fewer": ((ROWS[2], ROWS[0]), {}),
    "symmetric": (ROWS, {"options": {"variant": "symmetric"}}),
    "dual": (ROWS, {"options": {"variant": "dual"}}),
    "output": (ROWS, {"output_dtype": "fp8_e4m3fn"}),
    "texture": (ROWS, {"texture_boost": TextureBoost("b", 0.25)}),
}


@pytest.mark.parametrize("case", AGAIN)
def test_what_changes_no_delta_reads_every_tensor_once(family, known, case):
    rows, fields = AGAIN[case]
    wanted, _ = merge(live_spec(family), None, *rows, **fields)
    progress = Counter()
    found, reads = merge(live_spec(family), known, *rows, progress=progress, **fields)
    assert found.content_hash == wanted.content_hash
    assert found.retention == wanted.retention
    assert found.retention_by_block == wanted.retention_by_block
    assert found.leave_one_out == wanted.leave_one_out
    # the rounding of scaled fp8 is known, and measured, only when the whole tensor is
    assert max(reads) <= (1.5 if case == "output" else 1.0) and min(reads) > 0.0
    assert progress.done == pytest.approx(progress.total)


CHANGED = {
    "a parent": (Row("a"), Row("child"), Row("b")),
    "a further row": (*ROWS, Row("child")),
}


@pytest.mark.parametrize("case", CHANGED)
def test_other_deltas_are_summed_anew(family, known, case):
    wanted, _ = merge(live_spec(family), None, *CHANGED[case])
    found, reads = merge(live_spec(family), known, *CHANGED[case])
    assert found.content_hash == wanted.content_hash and min(reads) == 2.0


@pytest.mark.parametrize("which", ["base", "a"])
def test_another_file_is_not_taken_for_the_known_one(family, known, which):
    family[which]["blocks.1.mlp.weight"][0, 0] += 1.0
    wanted, _ = merge(live_spec(family), None, *ROWS)
    found, reads = merge(live_spec(family), known, *ROWS)
    assert found.content_hash == wanted.content_hash and min(reads) == 2.0


def test_a_tensor_on_which_no_row_acts_is_not_read_again(family, cache, tmp_path):
    memo = HashMemo(tmp_path / "hashes")
    merge(live_spec(family), cache, *ROWS, memo=memo)
    rows = tuple(Row(r.model, r.delta_from, layers="*attn*=1, default=0") for r in ROWS)
    spec = live_spec(family)
    merge(spec, cache, *rows, memo=memo)
    for model in spec.models:
        read = {key for key, _, _ in model.source.reads}
        assert read == {"blocks.0.attn.weight", "blocks.0.attn.bias"}


def test_a_sum_keeps_nothing_and_asks_for_nothing(family, tmp_path):
    cache = GramCache(tmp_path / "grams")
    for _ in range(2):
        _, reads = merge(live_spec(family), cache, *ROWS, method="task_arithmetic")
        assert reads == [1.0] * 3
    assert not (tmp_path / "grams").exists()


def test_it_survives_a_restart_and_damage(family, known, tmp_path):
    (path,) = (tmp_path / "grams").iterdir()
    whole, wanted = path.read_bytes(), merge(live_spec(family), None, *ROWS)[0].content_hash
    damages = [whole[:-8], whole[:40], b"", b"[]\n", b"{}\n", b"\xff" * 100, whole + b"x"]
    for place in (5, 60, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        damages.append(bytes(flipped))
    for damaged in damages:
        path.write_bytes(damaged)
        report, _ = merge(live_spec(family), GramCache(tmp_path / "grams"), *ROWS)
        assert report.content_hash == wanted
        _, reads = merge(live_spec(family), GramCache(tmp_path / "grams"), *ROWS)
        assert reads == [1.0] * 3  # mended


def test_the_longest_unused_go_first(family, tmp_path):
    folder = tmp_path / "grams"
    merge(live_spec(family), GramCache(folder), Row("a"), Row("b"))
    size = sum(path.stat().st_size for path in folder.iterdir())
    cache = GramCache(folder, max_bytes=2 * size + 64)
    merge(live_spec(family), cache, Row("b"), Row("child"))
    _, reads = merge(live_spec(family), cache, Row("a"), Row("b"))  # used again
    assert reads[0] == 1.0
    merge(live_spec(family), cache, Row("a"), Row("child"))
    assert len(list(folder.iterdir())) == 2
    assert merge(live_spec(family), cache, Row("b"), Row("a"))[1][0] == 1.0
    assert merge(live_spec(family), cache, Row("child"), Row("b"))[1][0] == 2.0


def test_a_folder_that_cannot_be_written_harms_nothing(family, tmp_path, caplog):
    (tmp_path / "grams").write_text("a file")
    with caplog.at_level(logging.WARNING):
        report, _ = merge(live_spec(family), GramCache(tmp_path / "grams"), *ROWS)
    assert report.content_hash == merge(live_spec(family), None, *ROWS)[0].content_hash
    assert [r.message for r in caplog.records] == ["The Grams could not be cached (File exists)."]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_mended_the_same_way_again(family, cache, bad):
    family["a"]["blocks.1.mlp.weight"][3, 5] = bad
    first, _ = merge(live_spec(family), cache, *ROWS)
    progress = Counter()
    second, _ = merge(live_spec(family), cache, *ROWS, progress=progress)
    assert progress.done == pytest.approx(progress.total)
    lost = {name: {"not_finite": ["blocks.1.mlp.weight"]} for name in ("a", "child")}
    assert second.unused == first.unused == lost
    assert second.repaired_keys == first.repaired_keys == ()
    assert second.content_hash == first.content_hash and second.retention == first.retention
    # where only other rows act, the tensor is merged
    away = (Row("a", layers="*mlp*=0, default=1"), Row("b"))
    wanted, _ = merge(live_spec(family), None, *away)
    found, _ = merge(live_spec(family), cache, *away)
    assert found.repaired_keys == () and found.content_hash == wanted.content_hash


def test_a_sum_that_overflows_is_not_remembered_as_broken(tmp_path):
    """Finite deltas whose sum leaves the numbers: with a smaller alpha it does not."""
    base = {"w": torch.full((40,), 1e38)}
    tuned_up = {"w": torch.full((40,), 2e38)}
    cache = GramCache(tmp_path / "grams")
    spec = {"base": base, "a": tuned_up}
    broken, _ = merge(live_spec(spec), cache, Row("a", alpha=3.0))
    assert broken.repaired_keys == ("w",)
    fine, reads = merge(live_spec(spec), cache, Row("a", alpha=0.5))
    assert fine.repaired_keys == () and reads == [1.0]


def test_a_file_that_changes_meanwhile_leaves_nothing_behind(on_disk, tmp_path):
    spec, cache = on_disk(), GramCache(tmp_path / "grams")

    class Touch(Progress):
        def advance(self, amount):
            spec.models[0].path.touch()

    with pytest.raises(FileChangedError, match=r'"a\.safetensors" was written to'):
        merge(spec, cache, *ROWS, progress=Touch())
    assert not (tmp_path / "grams").exists()


def test_rows_in_memory_and_in_files_are_not_confused(on_disk, family, cache):
    merge(on_disk(), cache, *ROWS)
    _, reads = merge(live_spec(family), cache, *ROWS)
    assert reads == [2.0] * 3


@pytest.mark.parametrize("compiled", [False, True])
def test_it_serves_the_compiled_way_and_the_other(tmp_path, monkeypatch, compiled):
    """What one way has summed the other takes, to the last bit."""
    base = base_tensors(torch.bfloat16)
    for seed, name in enumerate(("base", "a", "b")):
        save_file(tuned(base, seed) if seed else base, tmp_path / f"{name}.safetensors")
    paths = [tmp_path / f"{name}.safetensors" for name in ("a", "b")]
    spec = spec_from_paths(tmp_path / "base.safetensors", paths, "generic")
    cache, rows = GramCache(tmp_path / "grams"), (Row("a", alpha=0.7), Row("b"))
    hashes = []
    for way in (compiled, not compiled):
        monkeypatch.setattr(linear, "WORTH_COMPILING_BYTES", 0 if way else 1 << 62)
        hashes.append(merge(spec, cache, *rows)[0].content_hash)
    assert hashes[0] == hashes[1] == merge(spec, None, *rows)[0].content_hash


@pytest.mark.parametrize("rows", [[["x"], ["y"]], [{}, {}], [1, 2], "ab", None])
def test_a_first_line_of_another_make_is_unknown(family, known, tmp_path, rows):
    (path,) = (tmp_path / "grams").iterdir()
    _, head, payload = path.read_bytes().split(b"\n", 2)
    body = json.dumps({**json.loads(head), "rows": rows}).encode() + b"\n" + payload
    path.write_bytes(bytes_hash(body).encode() + b"\n" + body)
    wanted, _ = merge(live_spec(family), None, *ROWS)
    found, reads = merge(live_spec(family), GramCache(tmp_path / "grams"), *ROWS)
    assert found.content_hash == wanted.content_hash and reads == [2.0] * 3


def test_each_order_of_rows_has_a_file_of_its_own(family, tmp_path):
    """A name stands for one content, whichever process writes it last."""
    names = []
    for turn, rows in enumerate((ROWS, ROWS[::-1])):
        merge(live_spec(family), GramCache(tmp_path / str(turn)), *rows)
        names += [path.name for path in (tmp_path / str(turn)).iterdir()]
    assert len(set(names)) == 2


@pytest.mark.parametrize("variant", ["sequential", "symmetric", "dual"])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_delta_that_is_nothing_beside_another_harms_nothing(cache, variant, order):
    draw = torch.randn(40, generator=torch.Generator().manual_seed(1))
    spec = {"base": {"w": torch.zeros(40)}, "a": {"w": draw}, "b": {"w": draw.flip(0) * 1e-40}}
    rows = [Row(name) for name in order]
    report, _ = merge(live_spec(spec), cache, *rows, options={"variant": variant})
    assert report.repaired_keys == ()
    assert report.retention["a"] == pytest.approx(1.0, abs=1e-6)
