"""Every scheme against comfy-kitchen's own code and against numbers worked out by hand."""

import json

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import UnsupportedError
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.quant.blocks import unswizzle
from orthomerge_core.io.quant.hadamard import regular_hadamard, rotate_integers, rotation_factors


def marker(**options):
    return torch.tensor(list(json.dumps(options).encode()), dtype=torch.uint8)


def opened(tmp_path, sides, **options):
    tensors = {f"l.{suffix}": tensor.contiguous() for suffix, tensor in sides.items()}
    save_file({**tensors, "l.comfy_quant": marker(**options)}, tmp_path / "m.safetensors")
    return open_source(tmp_path / "m.safetensors")


def in_pieces(source, key, step):
    out = torch.empty(source.entries[key].numel)
    for low in range(0, len(out), step):
        source.read_into(key, out[low : low + step], low)
    return out.view(source.entries[key].shape)


def nvfp4(rows, cols, seed=0):
    kitchen = pytest.importorskip("comfy_kitchen.tensor")
    torch.manual_seed(seed)
    weight = torch.randn(rows, cols)
    data, params = kitchen.TensorCoreNVFP4Layout.quantize(weight)
    sides = {"weight": data, "weight_scale": params.block_scale, "weight_scale_2": params.scale}
    return sides, kitchen.TensorCoreNVFP4Layout.dequantize(data, params)


def mxfp8(rows, cols):
    kitchen = pytest.importorskip("comfy_kitchen.tensor")
    torch.manual_seed(1)
    data, params = kitchen.TensorCoreMXFP8Layout.quantize(torch.randn(rows, cols))
    sides = {"weight": data, "weight_scale": params.scale.view(torch.uint8)}
    return sides, kitchen.TensorCoreMXFP8Layout.dequantize(data, params)


@pytest.mark.parametrize("shape", [(16, 16), (130, 96), (160, 208)])
@pytest.mark.parametrize("step", [7, 160, 10**6])
def test_nvfp4_is_bit_exact(tmp_path, shape, step):
    sides, expected = nvfp4(*shape)
    with opened(tmp_path, sides, format="nvfp4") as source:
        assert source.entries["l.weight"].quant == "nvfp4"
        got = in_pieces(source, "l.weight", step)
        assert torch.equal(got.view(torch.int32), expected.view(torch.int32))


def test_nvfp4_scales_stored_as_bytes(tmp_path):
    sides, expected = nvfp4(32, 32)
    sides["weight_scale"] = sides["weight_scale"].view(torch.uint8)
    with opened(tmp_path, sides, format="nvfp4") as source:
        assert torch.equal(source.read("l.weight"), expected)


def test_nvfp4_by_hand(tmp_path):
    """Byte 0x1A is 0.5 (0001) then -1.0 (1010); block scale 2, tensor scale 0.25."""
    sides = {
        "weight": torch.full((16, 8), 0x1A, dtype=torch.uint8),
        "weight_scale": torch.full((128, 4), 2.0).to(torch.float8_e4m3fn),
        "weight_scale_2": torch.tensor(0.25),
    }
    with opened(tmp_path, sides, format="nvfp4") as source:
        assert torch.equal(source.read("l.weight")[3, :4], torch.tensor([0.25, -0.5, 0.25, -0.5]))


def test_nvfp4_smoothing_is_folded(tmp_path):
    sides, expected = nvfp4(32, 48)
    smooth = torch.rand(48)
    with opened(tmp_path, {**sides, "pre_quant_scale": smooth}, format="nvfp4") as source:
        assert torch.equal(in_pieces(source, "l.weight", 50), expected * smooth)
        assert list(source.entries) == ["l.weight"]


@pytest.mark.parametrize("shape", [(32, 32), (160, 96)])
@pytest.mark.parametrize("step", [7, 10**6])
def test_mxfp8_is_bit_exact(tmp_path, shape, step):
    sides, expected = mxfp8(*shape)
    with opened(tmp_path, sides, format="mxfp8") as source:
        got = in_pieces(source, "l.weight", step)
        assert torch.equal(got.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize(("make", "form", "padding"), [(nvfp4, "nvfp4", 16), (mxfp8, "mxfp8", 32)])
def test_padded_shapes_are_said_to_be_padded(tmp_path, make, form, padding):
    sides, expected = make(5, 90)
    with opened(tmp_path, sides, format=form) as source:
        entry = source.entries["l.weight"]
        assert entry.shape == (padding, 96) and entry.padding == padding
        assert torch.equal(source.read("l.weight")[:5, :90], expected[:5, :90])


def test_interleaving_by_its_definition():
    rows, cols = 130, 6
    plain = torch.randn(256, 8)
    stored = torch.empty(2, 2, 32, 4, 4)
    for r in range(256):
        for c in range(8):
            stored[r // 128, c // 4, r % 32, r % 128 // 32, c % 4] = plain[r, c]
    assert torch.equal(unswizzle(stored.view(256, 8), rows, cols).view(130, 6), plain[:130, :6])


@pytest.mark.parametrize("scale", [torch.tensor(0.01), torch.rand(6, 1)])
def test_int8_is_bit_exact(tmp_path, scale):
    weight = torch.randint(-128, 128, (6, 40), dtype=torch.int8)
    sides = {"weight": weight, "weight_scale": scale}
    with opened(tmp_path, sides, format="int8_tensorwise") as source:
        assert torch.equal(in_pieces(source, "l.weight", 33), weight.float() * scale)


def test_int8_convolution(tmp_path):
    weight, scale = torch.randint(-128, 128, (4, 3, 3, 3), dtype=torch.int8), torch.rand(4, 1, 1, 1)
    sides = {"weight": weight, "weight_scale": scale}
    with opened(tmp_path, sides, format="int8_tensorwise") as source:
        assert torch.equal(source.read("l.weight"), weight.float() * scale)


@pytest.mark.parametrize("group", [16, 256])
@pytest.mark.parametrize("step", [100, 10**6])
def test_int8_convrot(tmp_path, group, step):
    """Correctly rounded: equal to the float64 result, and to comfy-kitchen's up to its own
    rounding."""
    kitchen = pytest.importorskip("comfy_kitchen.tensor")
    torch.manual_seed(3)
    options = {"convrot": True, "convrot_groupsize": group}
    data, params = kitchen.TensorWiseINT8Layout.quantize(
        torch.randn(5, 512), per_channel=True, **options
    )
    sides = {"weight": data, "weight_scale": params.scale}
    with opened(tmp_path, sides, format="int8_tensorwise", **options) as source:
        assert source.entries["l.weight"].quant == "int8_convrot"
        got = in_pieces(source, "l.weight", step)
    rotation = regular_hadamard(group).double() / group**0.5
    exact = (data.double().view(5, -1, group) @ rotation).view(5, 512) * params.scale.double()
    assert torch.equal(got, exact.float())
    theirs = kitchen.TensorWiseINT8Layout.dequantize(data, params)
    torch.testing.assert_close(got, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("step", [300, 10**6])
def test_convrot_w4a4(tmp_path, step):
    layout = pytest.importorskip("comfy_kitchen.tensor.convrot_w4a4")
    torch.manual_seed(4)
    data, scale = layout.quantize_convrot_w4a4_weight(torch.randn(6, 512))
    sides = {"weight": data, "weight_scale": scale}
    with opened(tmp_path, sides, format="convrot_w4a4", convrot_groupsize=256) as source:
        assert source.entries["l.weight"].shape == (6, 512)
        got = in_pieces(source, "l.weight", step)
    low, high = data.to(torch.int32) & 15, data.to(torch.int32) >> 4 & 15
    whole = torch.stack((low, high), -1).view(6, 512)
    whole = torch.where(whole > 7, whole - 16, whole).double().view(6, 2, 256)
    exact = (whole @ regular_hadamard(256).double() / 16).view(6, 512) * scale.double().view(6, 1)
    assert torch.equal(got, exact.float())
    theirs = layout.dequantize_convrot_w4a4_weight(data, scale, output_dtype=torch.float32)
    torch.testing.assert_close(got, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("step", [33, 10**6])
def test_awq_is_bit_exact(tmp_path, step):
    kitchen = pytest.importorskip("comfy_kitchen.tensor.awq_w4a16").TensorCoreAWQW4A16Layout
    data = torch.randint(-128, 128, (6, 64), dtype=torch.int8)
    scale, zeros = torch.rand(2, 6).bfloat16(), torch.rand(2, 6).bfloat16()
    sides = {"weight": data, "weight_scale": scale, "weight_zeros": zeros}
    params = kitchen.Params(
        scale=scale, orig_dtype=torch.float32, orig_shape=(6, 128), zeros=zeros, group_size=64
    )
    with opened(tmp_path, sides, format="awq_w4a16", group_size=64) as source:
        got = in_pieces(source, "l.weight", step)
    assert torch.equal(got, kitchen.dequantize(data, params).float())


def test_the_rotation_is_its_own_inverse():
    h = regular_hadamard(64)
    assert torch.equal(h, h.t()) and torch.equal(h @ h, 64 * torch.eye(64))


@pytest.mark.parametrize("size", [4, 16, 64, 256, 1024, 4096])
def test_integers_are_rotated_exactly(size):
    values = torch.randint(-128, 128, (3, size)).float()
    values[0] = regular_hadamard(size)[1] * 127  # the largest sum there is
    out = torch.empty(3, size)
    rotate_integers(values, rotation_factors(size), out)
    assert torch.equal(out.double(), values.double() @ regular_hadamard(size).double())
    assert out[0].abs().max() == 127 * size


def bad_nvfp4():
    return {
        "weight": torch.zeros(16, 8, dtype=torch.uint8),
        "weight_scale": torch.zeros(128, 4).to(torch.float8_e4m3fn),
        "weight_scale_2": torch.tensor(1.0),
    }


@pytest.mark.parametrize(
    ("form", "sides", "words"),
    [
        (
            "nvfp4",
            {**bad_nvfp4(), "weight": torch.zeros(1, 2, 16, 8).byte()},
            "axes: expected 2, rec",
        ),
        (
            "nvfp4",
            {**bad_nvfp4(), "weight_scale": torch.zeros(5).byte()},
            "expected 512, received 5",
        ),
        ("nvfp4", {**bad_nvfp4(), "weight": torch.zeros(16, 5).byte()}, "width modulo 16"),
        ("nvfp4", {**bad_nvfp4(), "weight": torch.zeros(16, 8)}, "expected U8 or I8, received F32"),
        ("mxfp8", {"weight": torch.zeros(32, 32), "weight_scale": torch.ones(1)}, "weight dtype"),
        ("int8_tensorwise", {"weight": torch.zeros(2, 2), "weight_scale": torch.ones(1)}, "I8"),
        (
            "int8_tensorwise",
            {"weight": torch.zeros(2, 3, dtype=torch.int8), "weight_scale": torch.ones(3)},
            "scale shape: expected (2, 1), received (3,)",
        ),
    ],
)
def test_what_does_not_add_up_is_named(tmp_path, form, sides, words):
    with pytest.raises(UnsupportedError) as caught:
        opened(tmp_path, sides, format=form)
    assert words in str(caught.value) and f'"l" in "m.safetensors" ({form})' in str(caught.value)


def test_rotation_of_impossible_size(tmp_path):
    sides = {"weight": torch.zeros(2, 48, dtype=torch.int8), "weight_scale": torch.ones(1)}
    with pytest.raises(UnsupportedError, match="a power of 4 that divides 48, received 256"):
        opened(tmp_path, sides, format="int8_tensorwise", convrot=True)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
def test_8_bit_integers_without_a_scale_are_refused_by_name(tmp_path, dtype):
    path = tmp_path / "plain.safetensors"
    save_file({"a.weight": torch.ones(4, 4, dtype=dtype), "b.weight": torch.ones(4)}, path)
    with pytest.raises(UnsupportedError) as refused:
        open_source(path)
    said = '"plain.safetensors" holds "a.weight" as 8-bit integers without a scale'
    assert str(refused.value).startswith(said)
