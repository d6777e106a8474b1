"""A GGUF base whose tensors lost or gained axes of length 1."""

from __future__ import annotations

import re

import pytest
import torch

from orthomerge_core.errors import CompatibilityError
from orthomerge_core.keys.align import align
from orthomerge_core.keys.detect import all_architectures
from tests.core.keys.test_architectures import REAL
from tests.fakes import MemorySource
from tests.inventories import inventory

DESCRIBED = [
    name for name in REAL if next(a for a in all_architectures() if a.name == REAL[name][0]).axes
]


def model(name: str, dtype: torch.dtype = torch.float16) -> dict[str, torch.Tensor]:
    shapes = {
        k: tuple(max(2, n // 16) if n >= 16 else n for n in shape)
        for k, shape in inventory(name).items()
    }
    return {
        k: torch.randn(s, generator=torch.Generator().manual_seed(i)).to(dtype)
        for i, (k, s) in enumerate(shapes.items())
    }


def has_axes(name: str, key: str) -> bool:
    known = next(a for a in all_architectures() if a.name == REAL[name][0])
    return any(re.search(pattern, key) for pattern, _ in known.axes)


@pytest.mark.parametrize("name", DESCRIBED)
@pytest.mark.parametrize("how", ["squeezed", "padded"])
def test_the_architectures_shapes_come_back(name: str, how: str):
    whole = {k: t for k, t in model(name).items() if t.numel()}
    if name.startswith("hunyuan"):
        pytest.skip("its axes are what tells HunyuanVideo and HunyuanImage apart")
    keys = [k for k in whole if has_axes(name, k)]
    assert keys
    squeeze = {k: t.squeeze() if how == "squeezed" else t[..., None] for k, t in whole.items()}
    lost = {k: squeeze[k] if k in keys else t for k, t in whole.items()}
    before = {k: tuple(lost[k].shape) for k in keys}
    aligned = align(MemorySource("base.gguf", lost), [])
    assert {k: aligned.shapes[k] for k in whole} == {k: tuple(t.shape) for k, t in whole.items()}
    assert before != {k: tuple(whole[k].shape) for k in keys}
    for key in keys[:20]:
        assert torch.equal(aligned.read_base_raw(key), whole[key])


@pytest.mark.parametrize("name", list(REAL))
def test_what_is_stated_of_axes_is_what_the_models_have(name: str):
    shapes = {k: s for k, s in inventory(name).items() if 0 not in s}
    known = next(a for a in all_architectures() if a.name == REAL[name][0])
    for key, shape in shapes.items():
        found = next((t for pattern, t in known.axes if re.search(pattern, key)), None)
        if found is not None:
            assert len(found) == len(shape)
            assert all(w in (None, s) for w, s in zip(found, shape, strict=True)), key


def sdxl_with(shape: tuple[int, ...], key: str) -> dict[str, torch.Tensor]:
    whole = model("sdxl")
    return whole | {key: whole[key].reshape(shape)}


KEY = "input_blocks.4.1.proj_in.weight"


def test_gained_axes_of_sdxl_are_taken_off():
    rows, cols = model("sdxl")[KEY].shape
    lost = sdxl_with((rows, cols, 1, 1), KEY)
    aligned = align(MemorySource("base.gguf", lost), [("m", MemorySource("m", model("sdxl")))])
    assert aligned.shapes[KEY] == (rows, cols)
    assert aligned.models[0].report.verdict == "same architecture as the base"


def test_other_containers_are_left_alone():
    rows, cols = model("sdxl")[KEY].shape
    lost = sdxl_with((rows, cols, 1, 1), KEY)
    assert align(MemorySource("base.safetensors", lost), []).shapes[KEY] == (rows, cols, 1, 1)


def test_a_model_of_the_set_helps_where_the_architecture_alone_cannot():
    whole = {k: t for k, t in model("wan-vace-1b").items() if t.numel()}
    key = "patch_embedding.weight"
    flat = whole | {key: whole[key].flatten(1)}
    with pytest.raises(CompatibilityError) as error:
        align(MemorySource("base.gguf", flat), [])
    assert str(error.value).startswith(
        f'base "base.gguf": the tensor "{key}" lost its axes in the GGUF container'
    )
    assert "expected axes of [any, any, 1, any, any]" in str(error.value)
    aligned = align(MemorySource("base.gguf", flat), [("m", MemorySource("m", whole))])
    assert aligned.shapes[key] == tuple(whole[key].shape)
    assert torch.equal(aligned.read_base_raw(key), whole[key])


def test_an_undescribed_key_takes_the_shape_of_another_model():
    base = {f"b.{i}.w": torch.randn(4, 6) for i in range(3)}
    other = {k: t[:, :, None] for k, t in base.items()}
    aligned = align(MemorySource("base.gguf", base), [("m", MemorySource("m", other))])
    assert set(aligned.shapes.values()) == {(4, 6, 1)}
    both = align(MemorySource("base.gguf", base), [("m", MemorySource("m.gguf", other))])
    assert set(both.shapes.values()) == {(4, 6)}
