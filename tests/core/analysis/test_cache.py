"""Second runs read nothing; what changed or is damaged is made again."""

import os

import numpy as np
import pytest

from orthomerge_core.analysis.cache import AnalysisCache, analyze_cached
from orthomerge_core.analysis.codec import to_json
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.progress import Progress
from tests.core.analysis.family import aligned, family


class Notes(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def cache(tmp_path):
    return AnalysisCache(tmp_path / "cache")


def fresh(base, models):
    """The set opened anew, with nothing read from its models yet."""
    opened = aligned(base, models)
    for model in (opened.base, *opened.models):
        model.source.reads.clear()
    return opened


def reads(opened):
    return [len(m.source.reads) for m in (opened.base, *opened.models)]


def test_a_second_run_reads_nothing(cache):
    base, models = family(3)
    first = analyze_cached(fresh(base, models), cache)
    again, progress = fresh(base, models), Notes()
    second = analyze_cached(again, cache, progress=progress)
    assert to_json(second) == to_json(first)
    assert reads(again) == [0, 0, 0, 0]
    assert progress.notes == ["These files were analyzed before; nothing is read."]


def test_a_part_of_a_known_set_in_another_order_reads_nothing(cache):
    base, models = family(4)
    analyze_cached(fresh(base, models), cache)
    part = {n: models[n] for n in ("m3", "m1")}
    opened = fresh(base, part)
    found = analyze_cached(opened, cache)
    assert reads(opened) == [0, 0, 0]
    assert found.names == ("m3", "m1") and len(found.reports) == 2
    expected = analyze(aligned(base, part))
    np.testing.assert_allclose(found.gram, expected.gram, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found.conflict, expected.conflict)
    assert found.content_hashes == expected.content_hashes


def test_a_changed_file_is_noticed(cache):
    base, models = family(2)
    analyze_cached(fresh(base, models), cache)
    models["m1"]["out.scale"] += 1
    opened = fresh(base, models)
    found = analyze_cached(opened, cache)
    assert min(reads(opened)) > 0
    assert found.max_abs.max() == pytest.approx(1, abs=0.1)


def test_another_sample_or_layout_is_another_analysis(cache):
    base, models = family(2)
    analyze_cached(fresh(base, models), cache, rank_samples=1)
    assert cache.get(fresh(base, models), 2) is None
    del models["m0"]["out.scale"]
    assert cache.get(fresh(base, models), 1) is None


def test_a_new_model_takes_what_is_known(cache):
    base, models = family(3)
    analyze_cached(fresh(base, {n: models[n] for n in ("m0", "m1")}), cache, rank_samples=2)
    opened, progress = fresh(base, models), Notes()
    found = analyze_cached(opened, cache, rank_samples=2, progress=progress)
    once = len(base)
    assert reads(opened) == [once + 2, once, once, once + 2]  # two matrices again for a spectrum
    assert progress.notes[0] == (
        "m0, m1: known from an earlier analysis. The base and m2 are read, and of the known models "
        "only what lies beside their changes."
    )
    expected = analyze(aligned(base, models), rank_samples=2)
    for a, b in zip(found.spectra, expected.spectra, strict=True):
        np.testing.assert_array_equal(a.energies, b.energies)
    assert found.content_hashes == expected.content_hashes and found.reports == expected.reports


def test_a_model_that_changes_one_tensor_reads_one_tensor_of_the_others(cache):
    base, models = family(3)
    lora = {k: t.clone() for k, t in base.items()}
    lora["blocks.1.attn.weight"] += 1
    models["m2"] = lora
    analyze_cached(fresh(base, {n: models[n] for n in ("m0", "m1")}), cache, rank_samples=0)
    opened, progress = fresh(base, models), Notes()
    analyze_cached(opened, cache, rank_samples=0, progress=progress)
    for model in opened.models[:2]:
        assert {key for key, _, _ in model.source.reads} == {"blocks.1.attn.weight"}
    assert progress.notes[1] == (
        "Of the known models' 0.0 MiB, 0.0 MiB were read again: what lies beside the changes of m2."
    )


def test_tensors_whose_hashes_are_the_bases_are_not_read_at_all(cache, tmp_path):
    base, models = family(3)
    models["m2"] = {k: t.clone() for k, t in base.items()} | {"out.scale": base["out.scale"] + 1}
    memo = HashMemo(tmp_path / "hashes")
    first = {n: models[n] for n in ("m0", "m1")}
    analyze_cached(fresh(base, first), cache, rank_samples=2, memo=memo)
    analyze_cached(fresh(base, {"m2": models["m2"]}), None, rank_samples=0, memo=memo)
    opened = fresh(base, models)
    found = analyze_cached(opened, cache, rank_samples=2, memo=memo)
    assert [{k for k, _, _ in m.source.reads} for m in (opened.base, *opened.models)] == [
        {"out.scale"}
    ] * 4
    expected = analyze(aligned(base, models), rank_samples=2)
    np.testing.assert_allclose(found.gram, expected.gram, rtol=1e-5, atol=1e-6)
    assert found.content_hashes == expected.content_hashes


def test_a_replaced_model_reads_what_involves_it(cache):
    base, models = family(3)
    analyze_cached(fresh(base, models), cache, rank_samples=0)
    models["m1"]["out.scale"] += 1
    opened, progress = fresh(base, models), Notes()
    found = analyze_cached(opened, cache, rank_samples=0, progress=progress)
    assert progress.notes[0].startswith("m0, m2: known from an earlier analysis.")
    expected = analyze(aligned(base, models), rank_samples=0)
    np.testing.assert_array_equal(found.conflict, expected.conflict)
    np.testing.assert_allclose(found.gram, expected.gram, rtol=1e-5, atol=1e-6)


def test_more_spectra_of_a_known_set_read_only_their_matrices(cache):
    base, models = family(2)
    first = analyze_cached(fresh(base, models), cache, rank_samples=1)
    opened, progress = fresh(base, models), Notes()
    found = analyze_cached(opened, cache, rank_samples=2, progress=progress)
    assert progress.notes == ["These files were analyzed before; only further spectra are made."]
    read = {k for m in (opened.base, *opened.models) for k, _, _ in m.source.reads}
    assert len(read) == 1 and read != {first.spectra[0].key}
    np.testing.assert_array_equal(found.gram, first.gram)
    assert to_json(found) == to_json(analyze(aligned(base, models), rank_samples=2))


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b.replace(b'"gram":[[', b'"gram":[[1', 1),
        lambda b: b"not json\n" + b,
        lambda b: b.replace(b'"version": 3', b'"version": 9', 1),
    ],
)
def test_damaged_entries_are_made_again(cache, tmp_path, damage):
    base, models = family(2)
    first = analyze_cached(fresh(base, models), cache)
    (entry,) = (tmp_path / "cache").iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    opened = fresh(base, models)
    assert to_json(analyze_cached(opened, cache)) == to_json(first)
    assert min(reads(opened)) > 0
    assert entry.read_bytes() == whole


def test_the_oldest_entries_go_when_it_is_full(tmp_path):
    cache = AnalysisCache(tmp_path)
    sets = [family(1, seed=s) for s in range(3)]
    for age, (base, models) in enumerate(sets[:2]):
        analyze_cached(fresh(base, models), cache)
        newest = max(tmp_path.iterdir(), key=lambda p: p.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    assert cache.get(fresh(*sets[0]), 5) is not None  # used again: now the second is the oldest
    size = sum(p.stat().st_size for p in tmp_path.iterdir())
    small = AnalysisCache(tmp_path, max_bytes=size + 100)
    analyze_cached(fresh(*sets[2]), small)
    known = [cache.get(fresh(*s), 5) is not None for s in sets]
    assert known == [True, False, True]


def test_clear_removes_everything(cache):
    analyze_cached(fresh(*family(1)), cache)
    assert cache.clear() == 1 and cache.clear() == 0
    assert cache.get(fresh(*family(1)), 5) is None


def test_a_folder_that_cannot_be_made_is_logged(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = AnalysisCache(tmp_path / "file" / "cache")
    analyze_cached(fresh(*family(1)), cache)
    assert "could not be cached" in caplog.text and str(tmp_path) not in caplog.text


def test_no_cache_is_plain_analysis():
    opened = fresh(*family(1))
    assert analyze_cached(opened, None).names == ("m0",)
