"""The pass against the naive float64 oracle, and what must not change its result."""

import itertools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from orthomerge_core.analysis import compiled, summing
from orthomerge_core.analysis.compiled import CompiledKernel, compiled_kernel
from orthomerge_core.analysis.derive import derive
from orthomerge_core.analysis.kernel import ChunkKernel
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.errors import Cancelled, FileChangedError, FileError, OrthoMergeError
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.progress import Progress
from tests.core.analysis.family import aligned, family
from tests.oracles import naive_deltas, naive_gram, naive_sign_counts


def check_against_oracle(analysis, base, models):
    for k, key in enumerate(analysis.keys):
        rows = naive_deltas(base[key], [m.get(key) for m in models.values()])
        gram = naive_gram(rows)
        size = np.sqrt(np.diag(gram))
        np.testing.assert_allclose(np.sqrt(np.diag(analysis.gram[k])), size, rtol=1e-5)
        assert np.all(np.abs(analysis.gram[k] - gram) <= 1e-4 * np.outer(size, size) + 1e-300)
        active, conflict = naive_sign_counts(rows[1:])
        np.testing.assert_array_equal(analysis.active[k], active)
        np.testing.assert_array_equal(analysis.conflict[k], conflict)
        peaks = [float(r.abs().max()) if r.numel() else 0.0 for r in rows[1:]]
        np.testing.assert_allclose(analysis.max_abs[k], peaks, rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    count=st.integers(1, 5),
    exponent=st.sampled_from([0, -1, -4]),
    seed=st.integers(0, 99),
    last=st.sampled_from([1, 63, 64, 4095, 4096, 4097, 9000]),
)
def test_sums_agree_with_the_oracle(count, exponent, seed, last):
    base, models = family(count, 10.0**exponent, {"a": (3, 5), "b": (last,), "c": ()}, seed)
    analysis = analyze(aligned(base, models), chunk_elements=4096, rank_samples=0)
    check_against_oracle(analysis, base, models)


def test_mixed_precisions_and_missing_keys_agree_with_the_oracle():
    base, models = family(4, 1e-4)
    models["m1"] = {k: t.to(torch.bfloat16) for k, t in models["m1"].items()}
    models["m2"] = {k: t.to(torch.float8_e4m3fn) for k, t in models["m2"].items()}
    del models["m3"]["blocks.0.attn.weight"]
    analysis = analyze(aligned(base, models), rank_samples=0)
    check_against_oracle(analysis, base, models)
    assert not analysis.present[analysis.keys.index("blocks.0.attn.weight"), 3]
    found = derive(analysis)
    total = sum(t.numel() for t in base.values())
    assert found.coverage_frac[3] == pytest.approx(1 - 40 * 24 / total)


@pytest.mark.parametrize("scale", [1e-4, 1e-2])
def test_accuracy_on_a_large_tensor(scale):
    """Norms 1e-5 relative and cosines 1e-4 absolute at ‖D‖/‖W‖ = 1e-4, over a million elements."""
    shapes = {"a.weight": (1024, 1100)}
    base, models = family(3, scale, shapes)
    models["m2"]["a.weight"] = 0.5 * (models["m0"]["a.weight"] + models["m1"]["a.weight"])
    found = derive(analyze(aligned(base, models), rank_samples=0))
    rows = naive_deltas(base["a.weight"], [m["a.weight"] for m in models.values()])
    gram = naive_gram(rows)[1:, 1:]
    size = np.sqrt(np.diag(gram))
    np.testing.assert_allclose(found.delta_norm, size, rtol=1e-5)
    np.testing.assert_allclose(found.cosine, gram / np.outer(size, size), atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_elements": 64},
        {"chunk_elements": 10**9},
        {"threads": 1},
        {"threads": 3},
    ],
)
def test_chunks_and_threads_change_nothing(options):
    shapes = {"a.weight": (130, 200), "b.weight": (33, 17), "c.bias": (5,)}
    base, models = family(3, 1e-3, shapes)
    whole = analyze(aligned(base, models))
    other = analyze(aligned(base, models), **options)
    np.testing.assert_allclose(other.gram, whole.gram, rtol=1e-12, atol=1e-15)
    for name in ("active", "conflict", "max_abs", "nonfinite", "present"):
        np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
    assert other.content_hashes == whole.content_hashes


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_the_gram_is_symmetric_to_the_last_bit(count):
    analysis = analyze(aligned(*family(count, shapes={"a.weight": (300, 200)})), rank_samples=0)
    np.testing.assert_array_equal(analysis.gram, analysis.gram.transpose(0, 2, 1))


def test_non_finite_elements_count_as_zero_and_are_counted():
    base, models = family(2, 1e-2, {"a.weight": (8, 8), "b.weight": (4, 4)})
    base["a.weight"][0, 0] = float("nan")
    models["m0"]["a.weight"][0, 0] = float("inf")
    models["m0"]["a.weight"][1, 1] = float("nan")
    models["m1"]["b.weight"][2, :] = float("-inf")
    analysis = analyze(aligned(base, models), rank_samples=1)
    check_against_oracle(analysis, base, models)
    np.testing.assert_array_equal(analysis.nonfinite, [[1, 2, 0], [0, 0, 4]])
    assert np.isfinite(analysis.spectra[0].energies).all()


def test_a_model_of_nothing_but_nan():
    base, models = family(2, 1e-2, {"a.weight": (8, 8)})
    models["m1"]["a.weight"][:] = float("nan")
    analysis = analyze(aligned(base, models))
    assert analysis.nonfinite[0, 2] == 64
    assert derive(analysis).delta_norm[1] == 0


@pytest.mark.parametrize("factor", [1e-30, 1e25])
def test_values_whose_squares_leave_float32(factor):
    base, models = family(2, 1e-2, {"a.weight": (16, 16)})
    base = {k: t * factor for k, t in base.items()}
    models = {n: {k: t * factor for k, t in m.items()} for n, m in models.items()}
    analysis = analyze(aligned(base, models))
    check_against_oracle(analysis, base, models)
    assert analysis.nonfinite.sum() == 0


def test_empty_and_scalar_tensors():
    base, models = family(2, 1e-2, {"a.weight": (0, 4), "b.weight": (), "c.weight": (3, 4)})
    analysis = analyze(aligned(base, models))
    check_against_oracle(analysis, base, models)


def test_a_model_equal_to_the_base():
    base, models = family(2)
    models["m0"] = {k: t.clone() for k, t in base.items()}
    found = derive(analyze(aligned(base, models)))
    assert found.delta_norm[0] == 0 and found.cosine[0, 1] == 0
    assert found.grade[0] == "n/a" and np.isnan(found.quality[0])


def test_every_float_tensor_is_read_once_in_order():
    base, models = family(2, shapes={"a.weight": (100, 90), "b.weight": (7,)})
    opened = aligned(base, models)
    for model in (opened.base, *opened.models):
        model.source.reads.clear()
    analyze(opened, chunk_elements=4096, rank_samples=0)
    for model in (opened.base, *opened.models):
        for key, tensor in base.items():
            spans = [(a, b) for k, a, b in model.source.reads if k == key]
            assert spans[0][0] == 0 and spans[-1][1] == tensor.numel()
            assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))


class Recorder(Progress):
    def __init__(self, stop_after=None):
        self.total, self.done, self.stop_after = 0.0, 0.0, stop_after

    def start(self, total, label):
        self.total = total

    def advance(self, amount):
        self.done += amount
        self.check()

    def check(self):
        if self.stop_after is not None and self.done >= self.stop_after:
            raise Cancelled


def test_progress_ends_at_its_total():
    progress = Recorder()
    analyze(aligned(*family(2)), progress=progress)
    assert progress.done == pytest.approx(progress.total) and progress.total > 0


def test_cancel_stops_the_workers():
    before = threading.active_count()
    with pytest.raises(Cancelled, match="Nothing was written"):
        analyze(aligned(*family(2)), progress=Recorder(stop_after=0))
    assert threading.active_count() == before


def test_a_host_in_inference_mode_gets_the_same():
    base, models = family(2)
    plain = analyze(aligned(base, models), rank_samples=2)
    with torch.inference_mode():
        found = analyze(aligned(base, models), rank_samples=2)
    np.testing.assert_array_equal(found.gram, plain.gram)
    np.testing.assert_array_equal(found.spectra[0].energies, plain.spectra[0].energies)


def test_torch_keeps_its_thread_count():
    before = torch.get_num_threads()
    analyze(aligned(*family(1)))
    assert torch.get_num_threads() == before


def test_a_reading_error_reaches_the_caller():
    opened = aligned(*family(2))

    def broken(key, out, start=0):
        raise FileError("m1.safetensors ended early", fix="Download it again.")

    opened.models[1].source.read_into = broken
    with pytest.raises(FileError, match="ended early"):
        analyze(opened)


def test_a_file_that_changed_is_noticed():
    opened = aligned(*family(2))
    opened.models[0].source.changed = True
    with pytest.raises(FileChangedError):
        analyze(opened)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rank_samples": -1}, "rank_samples: expected a whole number of at least 0, received -1"),
        ({"chunk_elements": 0}, "chunk_elements"),
        ({"threads": True}, "threads"),
        ({"device": "toaster"}, 'unknown device "toaster"'),
        pytest.param(
            {"device": "cuda"},
            "no CUDA device is available here. Choose cpu.",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_impossible_arguments_are_named(options, words):
    with pytest.raises(OrthoMergeError, match=words):
        analyze(aligned(*family(1)), **options)


def test_keys_and_labels_come_from_the_set():
    base, models = family(2)
    opened = aligned(base, models)
    analysis = analyze(opened)
    assert analysis.keys == opened.keys and analysis.names == ("m0", "m1")
    assert analysis.base == "base.safetensors" and analysis.files[0] == "m0.safetensors"
    assert set(analysis.content_hashes) == {"base", "m0", "m1"}
    assert len(analysis.reports) == 2


def written(folder, dtypes):
    """A base and models on disk, one dtype each; some have an odd value, one lacks a tensor."""
    base, models = family(len(dtypes) - 1, 1e-2, {"a": (40, 300), "b": (5000,), "c": ()}, seed=5)
    models["m0"]["b"] = base["b"].clone()
    del models["m1"]["a"]
    tensors = {
        name: {k: t.to(dtype) for k, t in weights.items()}
        for (name, weights), dtype in zip({"base": base, **models}.items(), dtypes, strict=True)
    }
    for name, weights in tensors.items():
        save_file(weights, folder / f"{name}.safetensors")
    return (
        tensors.pop("base"),
        tensors,
        spec_from_paths(
            folder / "base.safetensors", [folder / f"{name}.safetensors" for name in models]
        ),
    )


@pytest.mark.parametrize(
    "dtypes",
    [
        [torch.bfloat16] * 4,
        [torch.float16] * 4,
        [torch.float32] * 4,
        [torch.bfloat16, torch.float16, torch.bfloat16, torch.float8_e4m3fn],
    ],
)
def test_compiled_code_reads_files_of_any_dtype_as_numpy_does(tmp_path, dtypes, monkeypatch):
    base, models, spec = written(tmp_path, dtypes)
    with open_set(spec) as opened:
        plain = analyze(opened, rank_samples=0, chunk_elements=4096)
    monkeypatch.setattr(summing, "WORTH_COMPILING_BYTES", 0)
    with open_set(spec) as opened:
        fast = analyze(opened, rank_samples=0, chunk_elements=4096)
    for found in (plain, fast):
        check_against_oracle(found, base, models)
    np.testing.assert_array_equal(plain.max_abs, fast.max_abs)
    assert plain.content_hashes == fast.content_hashes


def test_compiled_code_leaves_odd_chunks_to_the_exact_sums(tmp_path, monkeypatch):
    _, models, spec = written(tmp_path, [torch.bfloat16] * 3)
    models["m0"]["b"][17] = torch.nan
    save_file(models["m0"], tmp_path / "m0.safetensors")
    with open_set(spec) as opened:
        plain = analyze(opened, rank_samples=0)
    monkeypatch.setattr(summing, "WORTH_COMPILING_BYTES", 0)
    with open_set(spec) as opened:
        fast = analyze(opened, rank_samples=0)
    assert fast.nonfinite.sum() == 1
    np.testing.assert_array_equal(plain.nonfinite, fast.nonfinite)
    np.testing.assert_allclose(plain.gram, fast.gram, rtol=1e-6, atol=1e-9)


def test_large_sets_are_compiled_and_small_ones_and_those_without_numba_are_not(monkeypatch):
    def kind():
        engine = summing.engine_for(torch.device("cpu"), aligned(*family(2)), Progress())
        return type(engine.kernel(3, 4096))

    assert kind() is ChunkKernel
    monkeypatch.setattr(summing, "WORTH_COMPILING_BYTES", 0)
    assert kind() is CompiledKernel
    monkeypatch.setattr(compiled, "loops", lambda: None)
    compiled_kernel.cache_clear()
    assert kind() is ChunkKernel
    compiled_kernel.cache_clear()
