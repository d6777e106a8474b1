"""A MODEL as a source: patches applied, one tensor at a time, nothing changed."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

KEY = "diffusion_model.block.weight"


@pytest.fixture
def model(pack: ModuleType) -> Any:
    """A MODEL of two layers, bf16, as the host wraps it."""
    from comfy.model_patcher import ModelPatcher

    torch.manual_seed(0)
    inner = torch.nn.Module()
    inner.diffusion_model = torch.nn.Module()
    inner.diffusion_model.block = torch.nn.Linear(8, 6).bfloat16()
    inner.diffusion_model.register_buffer("steps", torch.arange(3))
    inner.other = torch.nn.Linear(2, 2)
    inner.requires_grad_(False)
    return ModelPatcher(inner, torch.device("cpu"), torch.device("cpu"))


@pytest.fixture
def source_type(pack: ModuleType) -> Any:
    return sys.modules[f"{pack.__name__}.live"].LiveSource


def patched(model: Any, strength: float = 0.5) -> tuple[Any, torch.Tensor]:
    delta = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    clone = model.clone()
    clone.add_patches({KEY: ("diff", (delta,))}, strength)
    return clone, model.model.diffusion_model.block.weight.float() + strength * delta


def test_entries_are_those_of_the_diffusion_model(model: Any, source_type: Any):
    source = source_type(model, "live")
    assert set(source.entries) == {"block.weight", "block.bias", "steps"}
    assert source.entries["block.weight"].dtype == "BF16"
    assert source.entries["block.weight"].shape == (6, 8)
    assert not source.entries["steps"].is_float


def test_values_are_exact_without_patches(model: Any, source_type: Any):
    source = source_type(model, "live")
    expected = model.model.diffusion_model.block.weight.float()
    assert torch.equal(source.read("block.weight"), expected)
    assert torch.equal(source.read_raw("steps"), torch.arange(3))


def test_patches_are_applied_in_float32_and_in_pieces(model: Any, source_type: Any):
    clone, expected = patched(model)
    source = source_type(clone, "live")
    out = torch.empty(20)
    source.read_into("block.weight", out, start=13)
    torch.testing.assert_close(out, expected.reshape(-1)[13:33], rtol=0, atol=1e-6)


def test_workers_may_read_different_keys_at_once(model: Any, source_type: Any):
    from concurrent.futures import ThreadPoolExecutor

    before = sys.getswitchinterval()
    source = source_type(model, "live")
    keys = ["block.weight", "block.bias"] * 200

    def read(key: str) -> torch.Tensor:
        out = torch.empty(source.entries[key].numel)
        source.read_into(key, out)
        source.read_into(key, out)
        return out

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as workers:
            found = list(workers.map(read, keys))
    finally:
        sys.setswitchinterval(before)
    expected = {key: read(key) for key in keys[:2]}
    assert all(torch.equal(found[i], expected[key]) for i, key in enumerate(keys))


def test_workers_may_read_into_views_of_the_nodes_tensors(
    pack: ModuleType, model: Any, source_type: Any
):
    from concurrent.futures import ThreadPoolExecutor

    clone, expected = patched(model)
    source = source_type(clone, "live")

    def work() -> torch.Tensor:
        rows = torch.empty(2, 48).unbind(0)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(source.read_into, "block.weight", rows[1]).result()
        return rows[1]

    with torch.inference_mode():
        found = pack.host.guarded(work)()
    torch.testing.assert_close(found, expected.reshape(-1), rtol=0, atol=1e-6)


def test_the_model_is_not_changed(model: Any, source_type: Any):
    clone, _ = patched(model)
    before = {k: v.clone() for k, v in model.model.state_dict().items()}
    patches, uuid = len(clone.patches), clone.patches_uuid
    source = source_type(clone, "live")
    source.read("block.weight")
    clone.add_patches({KEY: ("diff", (torch.ones(6, 8),))}, 9.0)
    assert source.read("block.weight").abs().max() < 9.0
    assert all(torch.equal(before[k], v) for k, v in model.model.state_dict().items())
    assert (patches, clone.patches_uuid == uuid) == (1, False)


def test_another_clone_loaded_in_place_does_not_leak_in(model: Any, source_type: Any):
    clone, _ = patched(model)
    expected = model.model.diffusion_model.block.weight.float().clone()
    with torch.inference_mode():
        clone.patch_model(torch.device("cpu"))
    assert not torch.equal(model.model.diffusion_model.block.weight.float(), expected)
    assert torch.equal(source_type(model, "plain").read("block.weight"), expected)
    clone.unpatch_model(torch.device("cpu"))


def test_fingerprint_follows_the_patches(model: Any, source_type: Any):
    clone, _ = patched(model)
    prints = {source_type(m, "x").fingerprint() for m in (model, model.clone(), clone)}
    assert len(prints) == 2


def test_closing_keeps_it_readable_for_later_nodes(model: Any, source_type: Any):
    source = source_type(model, "live")
    first = source.read("block.weight")
    source.close()
    assert torch.equal(source.read("block.weight"), first)


def test_hashes_are_those_of_the_values(model: Any, source_type: Any):
    one, two = source_type(model, "one"), source_type(patched(model, 0.0)[0], "two")
    assert not one.tensor_hashes()
    for source in (one, two):
        source.read("block.weight")
    assert one.tensor_hashes() == two.tensor_hashes()


def test_packed_tensors_of_other_packs_are_refused(
    pack: ModuleType, errors: ModuleType, model: Any, source_type: Any
):
    class GGMLTensor(torch.nn.Parameter):
        pass

    weight = torch.zeros(6, 8, dtype=torch.uint8)
    model.model.diffusion_model.block.weight = GGMLTensor(weight, requires_grad=False)
    with pytest.raises(errors.UnsupportedError, match="Name the model's file in the set"):
        source_type(model, "gguf")
