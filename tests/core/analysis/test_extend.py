"""A new model merged into a known analysis gives what a full pass over the set gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.analysis.cross import cross_sums
from orthomerge_core.analysis.extend import extend
from orthomerge_core.analysis.select import select
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.errors import AnalysisError, Cancelled
from orthomerge_core.progress import Progress
from tests.core.analysis.family import aligned, family
from tests.core.analysis.test_stream import check_against_oracle
from tests.oracles import naive_sign_counts

SHAPES = {"a.weight": (70, 90), "b.weight": (5, 8), "c.bias": (4097,), "d.scale": (), "e.w": (0, 3)}
PLAIN = {f"plain.{i}": (3,) for i in range(6)}  # so that every model holds enough of the base
TWISTS = ("plain", "missing", "equal", "part", "nan", "inf", "tiny", "huge")


def twist(tensor, base, kind):
    """A model's tensor with one peculiarity, or None where the model lacks it."""
    flat = tensor.reshape(-1)
    if kind == "missing":
        return None
    if kind == "equal":
        return base.clone()
    if kind == "part":
        keep = torch.arange(len(flat)) % 3 > 0
        return torch.where(keep, base.reshape(-1), flat).reshape(base.shape)
    if kind in ("nan", "inf") and len(flat):
        flat[len(flat) // 2] = float(kind)
    if kind == "tiny":
        return base * (1 + 1e-25) + 1e-22 * torch.sign(base)
    if kind == "huge":
        return tensor * 1e21
    return tensor


@st.composite
def sets(draw):
    """A base, models with peculiarities, and which of them are new."""
    count = draw(st.integers(2, 5))
    base, models = family(count, 1e-2, SHAPES | PLAIN, draw(st.integers(0, 50)))
    if draw(st.booleans()):
        base["a.weight"][3, 3] = float("nan")
    for model in models.values():
        for key in SHAPES:
            kind = draw(st.sampled_from(TWISTS))
            found = twist(model.pop(key), base[key], kind)
            model |= {} if found is None else {key: found}
    names = draw(st.permutations(list(models)))
    new = draw(st.sets(st.sampled_from(names), min_size=1, max_size=count - 1))
    return base, {n: models[n] for n in names}, new


def same(found, full):
    """Counts exactly; maxima and inner products as far as float32 reaches: a model that is not
    finite sends its companions' chunks to float64, too."""
    for name in ("active", "conflict", "nonfinite", "present"):
        np.testing.assert_array_equal(getattr(found, name), getattr(full, name), name)
    np.testing.assert_allclose(found.max_abs, full.max_abs, rtol=1e-6)
    size = np.sqrt(np.einsum("kii->ki", full.gram))
    limit = 1e-6 * size[:, :, None] * size[:, None, :]
    assert (np.abs(found.gram - full.gram) <= limit).all()
    np.testing.assert_array_equal(found.gram, found.gram.transpose(0, 2, 1))


@settings(deadline=None, max_examples=60)
@given(case=sets(), shuffled=st.booleans())
def test_a_merged_analysis_is_that_of_a_full_pass(case, shuffled):
    base, models, new = case
    kept = [n for n in models if n not in new]
    before = {n: models[n] for n in (reversed(kept) if shuffled else kept)}
    known = analyze(aligned(base, before), rank_samples=1)
    held = {n: {s.key: s.energies[i] for s in known.spectra} for i, n in enumerate(known.names)}
    found = extend(aligned(base, models), known, rank_samples=1, known_spectra=held)
    full = analyze(aligned(base, models), rank_samples=1)
    same(found, full)
    for a, b in zip(found.spectra, full.spectra, strict=True):
        np.testing.assert_array_equal(a.energies, b.energies)
    assert found.content_hashes == full.content_hashes and found.names == full.names
    part = select(found, [found.names.index(n) for n in known.names])
    np.testing.assert_array_equal(part.gram, known.gram)  # what was known is taken as it was


def test_it_agrees_with_the_float64_oracle():
    base, models = family(4, 1e-4, {"a.weight": (130, 200), "b.bias": (9000,)})
    del models["m3"]["b.bias"]
    known = analyze(aligned(base, {n: models[n] for n in ("m0", "m1")}), rank_samples=0)
    found = extend(aligned(base, models), known, rank_samples=0, chunk_elements=4096)
    check_against_oracle(found, base, models)


@pytest.mark.parametrize("options", [{"chunk_elements": 64}, {"threads": 1}, {"threads": 3}])
def test_chunks_and_threads_change_nothing(options):
    base, models = family(3, 1e-3, {"a.weight": (130, 200), "b.weight": (33, 17)})
    known = analyze(aligned(base, {"m1": models["m1"]}), rank_samples=0)
    whole = extend(aligned(base, models), known, rank_samples=0)
    other = extend(aligned(base, models), known, rank_samples=0, **options)
    np.testing.assert_allclose(other.gram, whole.gram, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(other.conflict, whole.conflict)


def test_chunks_without_a_change_leave_the_known_models_unread():
    base, models = family(2, 1e-2, {"a.weight": (8, 4096)})
    models["m1"]["a.weight"][:7] = base["a.weight"][:7]
    known = analyze(aligned(base, {"m0": models["m0"]}), rank_samples=0)
    opened = aligned(base, models)
    opened.models[0].source.reads.clear()
    found = extend(opened, known, rank_samples=0, chunk_elements=4096)
    assert opened.models[0].source.reads == [("a.weight", 7 * 4096, 8 * 4096)]
    same(found, analyze(aligned(base, models), rank_samples=0))


def test_known_models_without_a_change_stay_unread():
    base, models = family(2)
    models["m0"] = {k: t.clone() for k, t in base.items()}
    known = analyze(aligned(base, {"m0": models["m0"]}), rank_samples=0)
    opened = aligned(base, models)
    opened.models[0].source.reads.clear()
    same(extend(opened, known, rank_samples=0), analyze(aligned(base, models), rank_samples=0))
    assert opened.models[0].source.reads == []


class Recorder(Progress):
    def __init__(self, stop=False):
        self.total, self.done, self.stop = 0.0, 0.0, stop

    def start(self, total, label):
        self.total = total

    def advance(self, amount):
        self.done += amount
        self.check()

    def check(self):
        if self.stop:
            raise Cancelled


def test_progress_ends_at_its_total_and_a_stop_is_heard():
    base, models = family(3)
    known = analyze(aligned(base, {"m1": models["m1"]}))
    progress = Recorder()
    extend(aligned(base, models), known, progress=progress)
    assert progress.done == pytest.approx(progress.total) and progress.total > 0
    with pytest.raises(Cancelled):
        extend(aligned(base, models), known, progress=Recorder(stop=True))


def test_an_analysis_of_other_tensors_is_refused():
    base, models = family(2)
    known = analyze(aligned({"x": torch.ones(3)}, {"m0": {"x": torch.zeros(3)}}), rank_samples=0)
    with pytest.raises(AnalysisError, match=r"of other tensors\. Analyze the whole set again"):
        extend(aligned(base, models), known)


@given(seed=st.integers(0, 99), new=st.integers(1, 3), known=st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_cross_sums_agree_with_the_oracle(seed, new, known):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((new + known, 8192)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.3] = 0.0
    found = cross_sums(rows[:new], rows[new:])
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    np.testing.assert_allclose(found.gram, exact[:new, new:], atol=3e-7 * 8192)
    active, conflict = naive_sign_counts(torch.from_numpy(rows))
    np.testing.assert_array_equal(found.active, active[:new, new:])
    np.testing.assert_array_equal(found.conflict, conflict[:new, new:])


def test_cross_sums_leave_what_is_not_finite_to_float64():
    rows = np.ones((2, 4096), dtype=np.float32)
    rows[1, 5] = np.inf
    assert cross_sums(rows[:1], rows[1:]) is None
