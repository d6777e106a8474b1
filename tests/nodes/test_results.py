"""Finished merges are found as long as they are there, and not a moment longer."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file


class Patcher:
    """As much of a MODEL as a result needs."""

    def __init__(self) -> None:
        self.model = torch.nn.Module()
        self.model.diffusion_model = torch.nn.Module()
        self.model.diffusion_model.block = torch.nn.Linear(4, 4)
        self.backup: dict[str, Any] = {}


@pytest.fixture
def results(pack: ModuleType) -> Any:
    return sys.modules[f"{pack.__name__}.results"].Results()


def found(results: Any, identity: str) -> Any:
    with results.find(identity) as there:
        return there and (there[0], there[1]("block.weight"))


def test_a_model_is_a_result_until_it_is_gone(results: Any):
    model = Patcher()
    results.add_model("same", "report", model)
    report, weight = found(results, "same")
    assert report == "report"
    assert weight is model.model.diffusion_model.block.weight
    assert found(results, "other") is None
    del model, weight
    gc.collect()
    assert found(results, "same") is None
    assert not results._models


def test_a_newer_model_outlives_the_older_ones_end(results: Any):
    old, new = Patcher(), Patcher()
    results.add_model("same", "old", old)
    results.add_model("same", "new", new)
    del old
    gc.collect()
    assert found(results, "same")[0] == "new"


def test_a_file_is_a_result_until_it_is_gone(results: Any, tmp_path: Path):
    path = tmp_path / "merged.safetensors"
    save_file({"block.weight": torch.ones(2)}, path)
    results.add_file("same", "report", path)
    report, weight = found(results, "same")
    assert (report, weight.tolist()) == ("report", [1, 1])
    path.write_bytes(b"something else")
    assert found(results, "same") is None


def test_only_the_last_files_are_known(results: Any, tmp_path: Path):
    for number in range(results.FILES + 2):
        path = tmp_path / f"{number}.safetensors"
        save_file({"block.weight": torch.full((1,), float(number))}, path)
        results.add_file(str(number), number, path)
    assert found(results, "1") is None
    assert found(results, "2")[0] == 2


def test_the_original_under_patches_is_what_was_loaded(host: ModuleType):
    model = Patcher()
    original = torch.zeros(4, 4)
    model.backup["diffusion_model.block.weight"] = type("Kept", (), {"weight": original})
    assert host.stored_weight(model, "block.weight") is original
    assert host.stored_weight(model, "block.weight_scale") is None
    assert host.stored_weight(model, "absent.weight") is None
