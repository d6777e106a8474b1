"""Tensors merged whole: how many at once changes memory and time only."""

import threading
import time

import pytest
import torch

from orthomerge_core.errors import Cancelled
from orthomerge_core.execute import whole_tensor as whole
from orthomerge_core.execute.plan import cost
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.progress import Progress
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for
from tests.oracles import naive_orthomerge, naive_retention, naive_row_deltas

METHODS = ["orthomerge", "ties", "dare", "geometric_median"]


def merge(family, method, progress=None):
    spec = live_spec(family)
    rows = (Row("a", alpha=0.7), Row("b", repeat=2), Row("child", "a"))
    with plan_merge(recipe_for(spec, *rows, method=method), spec, output_dtype="fp32") as plan:
        merged = run_merge(plan, progress=progress)
    return merged.report, merged.state_dict


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cores", [1, 3, 16])
def test_the_number_at_once_changes_no_byte(family, monkeypatch, method, cores):
    expected, _ = merge(family, method)
    monkeypatch.setattr(cost, "usable_cores", lambda: cores)
    found, _ = merge(family, method)
    assert found.content_hash == expected.content_hash
    assert found.retention == expected.retention


def test_little_memory_means_one_after_another(family, monkeypatch):
    expected, _ = merge(family, "orthomerge")
    held = []
    real = whole.WholeMerge._load

    def load(self, tensor):
        held.append(len(self._loaded))
        return real(self, tensor)

    monkeypatch.setattr(whole.WholeMerge, "_load", load)
    monkeypatch.setattr(cost, "TOGETHER_BYTES", 1)
    found, _ = merge(family, "orthomerge")
    assert set(held) == {0}
    assert found.retention.keys() == expected.retention.keys()
    for row, share in found.retention.items():
        assert share == pytest.approx(expected.retention[row], rel=1e-5)


def test_the_largest_tensor_bounds_what_is_held(family):
    spec = live_spec(family)
    with plan_merge(recipe_for(spec, Row("a"), Row("b"), method="orthomerge"), spec) as plan:
        each = [plan.need(tensor).total for tensor in plan.tensors]
        assert max(each) <= plan.estimate.ram_bytes <= sum(each) + (4 << 20)


def test_tensors_and_retention_agree_with_float64(family):
    models = {name: tensors for name, tensors in family.items() if name != "base"}
    report, merged = merge(family, "orthomerge")
    rows = (Row("a", alpha=0.7), Row("b", repeat=2), Row("child", "a"))
    deltas = [naive_row_deltas(family["base"], models, row) for row in rows]
    for key in ("blocks.0.attn.weight", "blocks.1.mlp.weight"):
        base = family["base"][key].double()
        expected = naive_orthomerge(base, [d[key] for d in deltas], [0.7, 1.0, 1.0], [1, 2, 1])
        missed = (merged[key].double() - expected).norm()
        assert float(missed) < 1e-3 * float((expected - base).norm())
    for share, delta in zip(report.retention.values(), deltas, strict=True):
        assert share == pytest.approx(naive_retention(family["base"], merged, delta), abs=1e-5)


def test_a_stop_does_not_wait_for_an_eigendecomposition(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    base = {"blocks.0.weight": torch.randn(2048, 2048, generator=draw)}
    tuned = {k: t + 0.02 * torch.randn(t.shape, generator=draw) for k, t in base.items()}
    real, release, inside = torch.linalg.eigh, threading.Event(), []

    def eigh(matrix):
        inside.append(1)
        release.wait(60)
        found = real(matrix)
        inside.pop()
        return found

    monkeypatch.setattr(torch.linalg, "eigh", eigh)

    class StopInside(Progress):
        def check(self):
            if inside:
                raise Cancelled

    with pytest.raises(Cancelled):
        merge({"base": base, "a": tuned, "b": tuned, "child": base}, "orthomerge", StopInside())
    assert inside  # the merge has ended, and this goes on in the background
    release.set()
    while inside:
        time.sleep(0.02)
