"""MODELs that take turns in one module, in ComfyUI's own model management."""

from __future__ import annotations

import gc
import weakref
from types import ModuleType
from typing import Any

import pytest
import torch

KEY = "diffusion_model.block.weight"


class Maker:
    """Makes MODELs whose weight is one number; knows how many weights are alive."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
        self.most = 0

    def __call__(self, value: float) -> Any:
        from comfy.model_patcher import ModelPatcher

        gc.collect()
        inner = torch.nn.Module()
        inner.diffusion_model = torch.nn.Module()
        inner.diffusion_model.block = torch.nn.Linear(8, 6).bfloat16()
        inner.diffusion_model.block.weight.data.fill_(value)
        inner.get_dtype = lambda: torch.bfloat16
        inner.requires_grad_(False)
        self.alive.add(inner.diffusion_model)
        self.most = max(self.most, len(self.alive))
        return ModelPatcher(inner, torch.device("cpu"), torch.device("cpu"))


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def slot(host: ModuleType) -> Any:
    return host.LazySlot()


def cells(host: ModuleType, slot: Any, maker: Maker, count: int) -> list[Any]:
    """MODELs with weights 1, 2, …"""
    return [
        host.lazy_model(slot, str(value), lambda value=value: maker(value))
        for value in range(1, count + 1)
    ]


def load(model: Any) -> torch.Tensor:
    """The weight after ComfyUI has loaded the model."""
    from comfy import model_management

    model_management.load_models_gpu([model])
    return model.model.diffusion_model.block.weight


def test_each_has_its_own_weights_and_one_is_in_memory(host: ModuleType, slot: Any, maker: Maker):
    models = cells(host, slot, maker, 8)
    assert slot.made == 1
    for value, model in enumerate(models, start=1):
        assert (load(model) == value).all()
    assert maker.most == 1
    assert slot.made == 8


def test_a_clone_shares_the_weights_of_its_cell(host: ModuleType, slot: Any, maker: Maker):
    first, second = cells(host, slot, maker, 2)
    assert (load(second.clone()) == 2).all()
    assert (load(second) == 2).all()
    assert slot.made == 2
    assert (load(first.clone()) == 1).all()


def test_a_patch_stays_with_its_cell(host: ModuleType, slot: Any, maker: Maker):
    first, second = cells(host, slot, maker, 2)
    patched = first.clone()
    patched.add_patches({KEY: ("diff", (torch.full((6, 8), 8.0),))}, 0.5)
    assert (load(patched) == 5).all()
    assert (load(second) == 2).all()
    assert (load(first) == 1).all()
    assert (load(patched) == 5).all()
    assert (load(second) == 2).all()


def test_weights_that_another_node_takes_stay_what_they_were(
    host: ModuleType, slot: Any, maker: Maker
):
    first, second = cells(host, slot, maker, 2)
    taken = [model.get_key_patches("diffusion_model.")[KEY][0] for model in (first, second)]
    weights = [weight[0] if isinstance(weight, tuple) else weight for weight in taken]
    assert [float(weight[0, 0]) for weight in weights] == [1.0, 2.0]
    assert (first.model_state_dict()[KEY] == 1).all()


def test_a_merge_that_is_stopped_leaves_the_next_turn_whole(
    host: ModuleType, slot: Any, maker: Maker
):
    stops = iter([True, False])

    def make() -> Any:
        if next(stops):
            raise InterruptedError("stopped")
        return maker(9)

    first = cells(host, slot, maker, 1)[0]
    stopped = host.lazy_model(slot, "stopped", make)
    with pytest.raises(InterruptedError, match="stopped"):
        load(stopped)
    assert (load(first) == 1).all()
    assert (load(stopped) == 9).all()


def test_nothing_is_kept_when_the_models_are_gone(host: ModuleType, slot: Any, maker: Maker):
    from comfy import model_management

    models = cells(host, slot, maker, 3)
    for model in models:
        load(model)
    del model, models
    model_management.unload_all_models()
    gc.collect()
    assert not maker.alive
    assert slot.model is None
