"""Whatever goes wrong in mid-merge: nothing half-written, nothing lost, a clear message."""

import errno
import os
import threading

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import Cancelled, FileChangedError, OrthoMergeError, WriteError
from orthomerge_core.execute import run
from orthomerge_core.execute import whole_values as whole
from orthomerge_core.execute.output.sinks import StateDictSink
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.progress import Progress
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import StopAfter, live_spec, recipe_for

METHODS = ["task_arithmetic", "orthogonal_projection", "orthomerge"]


def merged_files(folder):
    sources = {"base.safetensors", "a.safetensors", "b.safetensors", "child.safetensors"}
    return sorted(p.name for p in folder.iterdir() if p.name not in sources)


def plan_for(spec, target, method="task_arithmetic", overwrite=False):
    recipe = recipe_for(spec, Row("a"), Row("b"), method=method)
    return plan_merge(recipe, spec, target=target, overwrite=overwrite)


@pytest.mark.parametrize("method", METHODS)
def test_cancel_leaves_nothing(on_disk, tmp_path, method):
    target = tmp_path / "merged.safetensors"
    with plan_for(on_disk(), target, method) as plan, pytest.raises(Cancelled):
        run_merge(plan, progress=StopAfter(1))
    assert merged_files(tmp_path) == []


def test_a_stop_does_not_wait_for_sd_mecha_to_load(on_disk, tmp_path, monkeypatch):
    loaded = threading.Event()
    monkeypatch.setattr(
        "orthomerge_core.execute.output.provenance.recipe_text", lambda _: loaded.wait(60)
    )
    target = tmp_path / "out" / "merged.safetensors"
    target.parent.mkdir(exist_ok=True)
    with plan_for(on_disk(), target) as plan, pytest.raises(Cancelled):
        run_merge(plan, progress=StopAfter(0))
    assert not loaded.is_set()
    loaded.set()


def test_cancel_leaves_an_older_result_alone(on_disk, tmp_path):
    target = tmp_path / "merged.safetensors"
    target.write_bytes(b"older")
    with plan_for(on_disk(), target, overwrite=True) as plan, pytest.raises(Cancelled):
        run_merge(plan, progress=StopAfter(1))
    assert target.read_bytes() == b"older"
    assert merged_files(tmp_path) == ["merged.safetensors"]


def test_cancel_empties_a_state_dict(family, monkeypatch):
    sink = StateDictSink()
    monkeypatch.setattr(run, "sink_for", lambda plan: sink)
    with plan_for(live_spec(family), None) as plan, pytest.raises(Cancelled):
        run_merge(plan, progress=StopAfter(1))
    assert sink.state_dict == {} and sink.metadata == {}


def test_a_stop_is_heard_while_one_tensor_computes(family, monkeypatch):
    spec = live_spec(family)
    with plan_for(spec, None, "orthomerge") as plan:
        begun, release, ended = threading.Event(), threading.Event(), []

        def decompose(*_):
            begun.set()
            release.wait(60)
            ended.append(1)

        monkeypatch.setattr(type(plan.method), "decompose", decompose, raising=True)

        class Impatient(Progress):
            def check(self):
                if begun.is_set():
                    raise Cancelled

        with pytest.raises(Cancelled):
            run_merge(plan, progress=Impatient())
        assert not ended  # the merge ended before its tensor did
        release.set()


def test_progress_reaches_its_total(family):
    for method in METHODS:
        spec, told = live_spec(family), StopAfter(10**9)
        with plan_for(spec, None, method) as plan:
            run_merge(plan, progress=told)
        assert told.done == pytest.approx(told.total)


@pytest.mark.parametrize("failing_write", [2, 4])
def test_a_full_disk_leaves_nothing(on_disk, tmp_path, monkeypatch, failing_write):
    target, real, count = tmp_path / "merged.safetensors", os.pwrite, []

    def full(descriptor, data, offset):
        count.append(1)
        if len(count) >= failing_write:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    with plan_for(on_disk(), target) as plan:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(WriteError, match=r'the disk is full while writing "merged'):
            run_merge(plan)
    assert merged_files(tmp_path) == []


def test_a_target_that_appears_meanwhile_is_not_overwritten(on_disk, tmp_path):
    target = tmp_path / "merged.safetensors"
    with plan_for(on_disk(), target) as plan:
        target.write_bytes(b"somebody else's")
        with pytest.raises(WriteError, match="exists already"):
            run_merge(plan)
    assert target.read_bytes() == b"somebody else's"


def test_a_source_that_shrinks_is_named(on_disk, tmp_path):
    target = tmp_path / "merged.safetensors"
    with plan_for(on_disk(), target) as plan:
        os.truncate(tmp_path / "a.safetensors", 2000)
        with pytest.raises(FileChangedError, match=r'"a.safetensors" shrank') as caught:
            run_merge(plan)
    assert str(tmp_path) not in str(caught.value)
    assert merged_files(tmp_path) == []


@pytest.mark.parametrize("how", ["rewritten", "vanished"])
def test_a_source_that_changes_spoils_the_merge(on_disk, tmp_path, family, how):
    target, victim = tmp_path / "merged.safetensors", tmp_path / "b.safetensors"
    with plan_for(on_disk(), target) as plan:
        if how == "vanished":
            victim.unlink()
        else:
            save_file({k: t + 1 for k, t in family["b"].items()}, victim)
            os.utime(victim, ns=(1, 1))
        with pytest.raises(FileChangedError, match=r'"b.safetensors"'):
            run_merge(plan)
    assert merged_files(tmp_path) == []


def test_a_device_out_of_memory_falls_back_to_the_cpu(family, monkeypatch):
    spec = live_spec(family)
    failed = []
    real = whole.WholeValues._on

    def scarce(self, device, loaded):
        if device.type != "cpu":
            failed.append(loaded.tensor.key)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(self, device, loaded)

    monkeypatch.setattr(whole.WholeValues, "_on", scarce)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with plan_for(spec, None, "orthomerge") as plan:
        report = run_merge(plan, device="cuda").report
        reference = run_merge(plan).report
    assert len(failed) == 6
    assert report.content_hash == reference.content_hash
    assert any("6 tensors did not fit the memory of cuda" in note for note in report.notes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_unknown_device_is_refused(family):
    spec = live_spec(family)
    with plan_for(spec, None) as plan:
        for device, says in (
            ("warp", 'unknown device "warp"'),
            ("meta", 'unknown device "meta"'),
            ("cuda", "no CUDA device"),
            ("cuda:7", "no CUDA device"),
            ("xla", "no XLA device"),
        ):
            with pytest.raises(OrthoMergeError, match=says):
                run_merge(plan, device=device)
