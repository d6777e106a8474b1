"""Steps of stored formats: rounding to one moves a value by at most half a step, and often by most
of that."""

import numpy as np
import pytest
import torch

from orthomerge_core.io.dtypes import torch_dtype
from orthomerge_core.io.ggml_blocks import TORCH_DECODERS, low_bits
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.rounding import float_steps

FLOATS = ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]
GGML = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1e-4, 0.04, 3.0])
def test_the_step_of_a_float_is_the_distance_to_the_next_one(dtype, scale):
    kind = torch_dtype(dtype)
    exact = scale * torch.randn(2000, generator=torch.Generator().manual_seed(0))
    stored = exact.to(kind)
    steps = torch.empty(2000)
    float_steps(dtype, stored.float(), steps)
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[kind.itemsize]
    size = stored.float().abs()
    above = (size.to(kind).view(width) + 1).view(kind).float() - size
    assert torch.equal(steps, above)
    assert bool(((stored.float() - exact).abs() <= steps / 2).all())


def test_values_that_are_not_finite_have_no_step():
    steps = torch.empty(3)
    float_steps("BF16", torch.tensor([float("nan"), float("inf"), 0.0]), steps)
    assert steps.tolist() == [0.0, 0.0, 2.0**-133]


@pytest.mark.parametrize("form", GGML)
def test_the_step_of_a_block_is_its_scale(form):
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType[form]
    exact = np.random.default_rng(1).standard_normal((64, 256)).astype(np.float32)
    raw = torch.from_numpy(gguf.quantize(exact, kind)).reshape(-1)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = raw.view(-1, size)
    flipped = raw ^ torch.frombuffer(bytearray(low_bits(form, size)), dtype=torch.uint8)
    values, other = torch.empty(len(raw), block), torch.empty(len(raw), block)
    TORCH_DECODERS[form](raw, values)
    TORCH_DECODERS[form](flipped, other)
    scale = raw[:, :2].contiguous().view(torch.float16).float().abs()
    torch.testing.assert_close(
        (other - values).abs(), scale.expand_as(values), rtol=1e-4, atol=1e-6
    )
    error = (values - torch.from_numpy(exact).view_as(values)).abs()
    assert float((error > 0.5001 * scale).float().mean()) < 0.02  # clipped ones


@pytest.mark.parametrize("form", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "unknown"])
def test_the_bits_of_a_block_fill_it_exactly(form):
    gguf = pytest.importorskip("gguf")
    if form == "unknown":
        assert low_bits(form, 100) == b""
        return
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[form]]
    assert len(low_bits(form, size)) == size


def test_scaled_fp8_reads_steps_times_its_scale(tmp_path):
    from safetensors.torch import save_file

    exact = torch.randn(32, 64, generator=torch.Generator().manual_seed(2))
    scale = exact.abs().max() / 448
    tensors = {
        "a.weight": (exact / scale).to(torch.float8_e4m3fn),
        "a.scale_weight": scale.reshape(1),
        "scaled_fp8": torch.empty(0, dtype=torch.float8_e4m3fn),
    }
    save_file(tensors, str(tmp_path / "m.safetensors"))
    with open_source(tmp_path / "m.safetensors") as source:
        steps = torch.empty(exact.numel())
        assert source.read_steps("a.weight", steps)
        error = (source.read("a.weight") - exact).abs().flatten()
    assert bool((error <= 0.5001 * steps).all())
    assert float(error.square().sum() / (steps.square().sum() / 12)) == pytest.approx(1.0, abs=0.15)
