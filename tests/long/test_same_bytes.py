"""The same recipe gives the same bytes however the process runs, and whatever its caches suffer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from orthomerge_core import api
from orthomerge_core.io import cache_folder
from orthomerge_core.progress import Progress
from tests.core.execute.conftest import base_tensors, tuned

METHODS = ("orthogonal_projection", "orthomerge")
ONE_CORE = ("taskset", "-c", "0") if shutil.which("taskset") else ()


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A base, two fine-tunes and a recipe per method, in the current folder."""
    monkeypatch.chdir(tmp_path)
    base = base_tensors()
    save_file(base, "base.safetensors")
    for seed, name in enumerate(("a", "b"), 1):
        save_file(tuned(base, seed), f"{name}.safetensors")
    for method in METHODS:
        write_recipe(method, "ab")
    return tmp_path


def write_recipe(method: str, names: str, file: str = "") -> None:
    recipe = {
        "base": "base.safetensors",
        "models": {name: {"file": f"{name}.safetensors"} for name in names},
        "rows": [{"model": name, "alpha": 0.7} for name in "ab"],
        "method": method,
    }
    Path(file or f"{method}.json").write_text(json.dumps(recipe), encoding="utf-8")


def shell(*arguments: str, first: tuple[str, ...] = (), python: tuple[str, ...] = (), **env: str):
    command = [*first, sys.executable, *python, "-m", "orthomerge_core", *arguments]
    root = Path(__file__).parents[2]
    around = os.environ | {"PYTHONPATH": str(root), "ORTHOMERGE_CACHE": "cache"} | env
    return subprocess.Popen(command, env=around, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def merged(method: str, **how) -> bytes:
    Path("again").mkdir(exist_ok=True)
    target = Path("again", f"{method}.safetensors")  # the header's title is the file's name
    arguments = ("merge", f"{method}.json", "-o", str(target), "--overwrite", "--no-cache", "-q")
    with shell(*arguments, **how) as running:
        out, err = running.communicate()
    assert running.returncode == 0, (out, err)
    return target.read_bytes()


def test_threads_hash_seeds_and_development_mode_change_no_byte(models):
    wanted = {}
    for method in METHODS:
        report = api.merge(f"{method}.json", f"{method}.safetensors")
        wanted[method] = Path(f"{method}.safetensors").read_bytes()
        assert report.content_hash
    ways = [
        {"first": ONE_CORE, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        {"python": ("-X", "dev"), "PYTHONHASHSEED": "2"},
    ]
    for way in ways:
        for method in METHODS:
            assert merged(method, **way) == wanted[method]


def test_the_order_of_the_models_in_a_recipe_changes_no_tensor(models):
    write_recipe("orthogonal_projection", "ba", "shuffled.json")
    hashes = {
        api.merge(file, f"{file}.safetensors").content_hash
        for file in ("orthogonal_projection.json", "shuffled.json")
    }
    assert len(hashes) == 1


def test_two_processes_on_one_target_leave_one_whole_file(models):
    arguments = ("merge", "orthomerge.json", "-o", "out.safetensors", "--overwrite", "-q")
    running = [shell(*arguments) for _ in range(2)]
    ended = [run.communicate() for run in running]
    assert all(run.returncode == 0 for run in running), ended
    assert api.verify("out.safetensors").ok
    assert [path.name for path in models.glob(".*")] == []


@pytest.mark.parametrize("method", METHODS)
def test_a_cache_that_goes_away_or_fills_up_costs_time_only(models, method, monkeypatch):
    wanted = api.merge(f"{method}.json", "wanted.safetensors").content_hash
    cache = models / "cache"

    class Deletes(Progress):
        def advance(self, amount: float = 1.0) -> None:
            shutil.rmtree(cache, ignore_errors=True)

    for _ in range(2):
        report = api.merge(
            f"{method}.json", "out.safetensors", cache=cache, overwrite=True, progress=Deletes()
        )
        assert report.content_hash == wanted

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_folder, "replace_file", full)
    report = api.merge(f"{method}.json", "out.safetensors", cache=cache, overwrite=True)
    assert report.content_hash == wanted
