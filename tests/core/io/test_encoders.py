"""What is written of quantized layers: the nearest number of each format, as its reference does."""

import json
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.io.dtypes import dtype_of
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.quant.encoders import all_encoders, encoder_named
from orthomerge_core.io.quant.int8 import Int8ConvRot
from orthomerge_core.io.writer import SafetensorsWriter
from tests import quantized

NAMES = ("fp8_e4m3fn", "int8_convrot", "int8_rowwise", "int8_tensorwise", "mxfp8", "nvfp4")
SHAPES = [(32, 64), (160, 288), (48, 512), (1056, 1024)]


def weights(shape, seed=0, tail=0.02):
    """Normal weights whose rows and columns differ in size, with a few far outside."""
    rng = torch.Generator().manual_seed(seed)
    found = torch.randn(shape, generator=rng) * 0.03
    found *= torch.exp(torch.randn((shape[0], 1), generator=rng))
    found[torch.rand(shape, generator=rng) < tail / 10] *= 30
    found[torch.rand(shape, generator=rng) < 0.05] = 0.0
    return found


def decoded(encoder, encoded, shape):
    """What our own reader gets, in one tensor."""
    out = torch.full((prod(shape),), torch.nan)
    for start, values in encoder.decoded(encoded, shape):
        out[start : start + len(values)] = values
    return out.view(shape)


def test_every_output_dtype_that_quantizes_is_found():
    in_gguf = {name for name, encoder in all_encoders().items() if encoder.in_gguf}
    assert set(all_encoders()) - in_gguf == set(NAMES)
    assert in_gguf == {"gguf_q4_0", "gguf_q4_1", "gguf_q5_0", "gguf_q5_1", "gguf_q8_0"}
    assert encoder_named("bf16") is None


def half_step(name, values, encoded):
    """Half the distance between neighboring numbers of the format at each value, by definition."""
    sides, size = encoded.sides, values.double().abs()
    if name.startswith("int8"):
        return sides["weight_scale"].double() / 2 * torch.ones_like(size)
    if name == "nvfp4":
        block = unswizzled(sides["weight_scale"].float(), len(values), values.shape[1] // 16)
        scale = block.double() * sides["weight_scale_2"].double()
        scale = scale.repeat_interleave(16, 1)
        at = size / scale.clamp(min=1e-300)
        step = torch.where(at < 2, 0.5, torch.where(at < 4, 1.0, 2.0)).double()
        # where the block's scale is zero, everything below half the smallest scale is lost
        least = 2.0**-10 * 6 * sides["weight_scale_2"].double()
        return torch.where(scale > 0, step * scale / 2, least)
    if name == "mxfp8":
        power = unswizzled(sides["weight_scale"].double(), len(values), values.shape[1] // 32)
        scale = (2.0 ** (power - 127)).repeat_interleave(32, 1)
    else:
        scale = sides["weight_scale"].double() * torch.ones_like(size)
    at = (size / scale).clamp(min=2.0**-6)
    return 2.0 ** (at.log2().floor() - 4) * scale


def unswizzled(blocked, rows, cols):
    """Block scales [rows, cols] one element at a time, as the layout is defined."""
    flat, wide = blocked.reshape(-1), -(-cols // 4)
    return torch.tensor(
        [
            [
                float(
                    flat[
                        ((r // 128) * wide + c // 4) * 512
                        + (r % 32) * 16
                        + (r % 128 // 32) * 4
                        + c % 4
                    ]
                )
                for c in range(cols)
            ]
            for r in range(rows)
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_every_weight_is_within_half_a_step_of_the_format(name, shape):
    encoder, values = encoder_named(name), weights(shape)
    encoded = encoder.encode(values)
    error = (decoded(encoder, encoded, shape).double() - values.double()).abs()
    bound = half_step(name, values, encoded)
    if name == "int8_convrot" and shape[1] % 256 == 0:
        # the rotation keeps lengths, so the bound is that of a whole group
        error, bound = (x.view(-1, 256).square().sum(1).sqrt() for x in (error, bound))
    assert (error <= bound * (1 + 1e-5)).all()
    assert encoded.clipped == 0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_is_what_was_announced(name):
    encoder, shape = encoder_named(name), (160, 288)
    encoded = encoder.encode(weights(shape))
    announced = encoder.announced("a.b.weight", shape)
    stored = {"a.b.weight": encoded.weight, "a.b.comfy_quant": encoder.marker(shape)}
    stored |= {f"a.b.{suffix}": side for suffix, side in encoded.sides.items()}
    if not encoder.marks_layers:
        del stored["a.b.comfy_quant"]
    assert announced == {k: (dtype_of(t), tuple(t.shape)) for k, t in stored.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_reads_back_as_what_was_encoded(name, tmp_path):
    encoder, shape = encoder_named(name), (64, 512)
    values = weights(shape)
    encoded, path = encoder.encode(values), tmp_path / "x.safetensors"
    layout = encoder.announced("a.b.weight", shape)
    layers = {"a.b": {"format": encoder.format}}
    metadata = {"_quantization_metadata": json.dumps({"layers": layers})}
    with SafetensorsWriter(path, layout, {} if encoder.marks_layers else metadata) as writer:
        writer.write("a.b.weight", encoded.weight)
        for suffix, side in encoded.sides.items():
            writer.write(f"a.b.{suffix}", side)
        if encoder.marks_layers:
            writer.write("a.b.comfy_quant", encoder.marker(shape))
        writer.finish()
    with open_source(path) as source:
        assert set(source.entries) == {"a.b.weight"}
        assert source.entries["a.b.weight"].quant is not None
        assert torch.equal(source.read("a.b.weight"), decoded(encoder, encoded, shape))


@pytest.mark.parametrize("name", NAMES)
def test_pieces_and_repeats_make_no_difference(name, monkeypatch):
    encoder, values = encoder_named(name), weights((96, 512))
    whole = encoder.encode(values)
    monkeypatch.setattr("orthomerge_core.io.quant.encoder.ENCODED_AT_ONCE", 3 * 512)
    calls = []
    parts = encoder.encode(values, lambda: calls.append(None))
    assert len(calls) == 32
    assert torch.equal(whole.weight.view(torch.uint8), parts.weight.view(torch.uint8))
    for suffix, side in whole.sides.items():
        same = (part.reshape(-1).view(torch.uint8) for part in (side, parts.sides[suffix]))
        assert torch.equal(*same), suffix


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_comfy_kitchen_bit_for_bit(shape, seed):
    kitchen = pytest.importorskip("comfy_kitchen.backends.eager.quantization")
    values = weights(shape, seed)
    for name, reference in (
        ("int8_tensorwise", kitchen.quantize_int8_tensorwise),
        ("int8_rowwise", kitchen.quantize_int8_rowwise),
    ):
        weight, scale = reference(values)
        ours = encoder_named(name).encode(values)
        assert torch.equal(ours.weight, weight), name
        assert torch.equal(ours.sides["weight_scale"], scale), name
    weight, blocks = kitchen.quantize_mxfp8(values)
    ours = encoder_named("mxfp8").encode(values)
    assert torch.equal(ours.weight.view(torch.uint8), weight.view(torch.uint8))
    assert torch.equal(ours.sides["weight_scale"], blocks.view(torch.uint8))
    tensor = values.abs().amax() / (448.0 * 6.0)
    weight, blocks = kitchen.quantize_nvfp4(values, tensor)
    ours = encoder_named("nvfp4").encode(values)
    assert torch.equal(ours.weight, weight)
    assert torch.equal(ours.sides["weight_scale"].view(torch.uint8), blocks.view(torch.uint8))
    assert torch.equal(ours.sides["weight_scale_2"], tensor)


def test_fp8_differs_from_comfy_kitchen_by_its_reciprocal_alone():
    """The reference multiplies by 1 / scale, which rounds once more; we divide."""
    kitchen = pytest.importorskip("comfy_kitchen.backends.eager.quantization")
    values = weights((160, 288))
    ours = encoder_named("fp8_e4m3fn").encode(values)
    theirs = kitchen.quantize_per_tensor_fp8(values, ours.sides["weight_scale"])
    step = (ours.weight.view(torch.uint8).int() - theirs.view(torch.uint8).int()).abs()
    assert step.max() <= 1 and (step > 0).float().mean() < 1e-4


@pytest.mark.parametrize("shape", [(48, 512), (1056, 1024)])
def test_convrot_is_comfy_kitchens_but_for_its_float32_rotation(shape):
    kitchen = pytest.importorskip("comfy_kitchen.backends.eager.quantization")
    values = weights(shape)
    weight, scale = kitchen.quantize_int8_convrot_weight(values, 256)
    ours = encoder_named("int8_convrot").encode(values)
    assert torch.allclose(ours.sides["weight_scale"], scale, rtol=1e-6)
    apart = (ours.weight.int() - weight.int()).abs()
    assert apart.max() <= 1 and (apart > 0).float().mean() < 1e-4


def test_convrot_codes_are_those_of_the_rotated_weight_in_float64():
    values = weights((32, 512))
    encoded = encoder_named("int8_convrot").encode(values)
    exact = quantized.turned(values, 256)
    top = exact.abs().amax(1, keepdim=True) / 127
    assert torch.equal(encoded.weight.double(), (exact / top).round())


def test_convrot_leaves_a_layer_unrotated_that_its_groups_do_not_divide():
    encoder = Int8ConvRot()
    assert encoder.options((16, 320)) == {}
    assert encoder.options((16, 512)) == {"convrot": True, "convrot_groupsize": 256}
    values = weights((16, 320))
    plain = encoder_named("int8_rowwise").encode(values)
    assert torch.equal(encoder.encode(values).weight, plain.weight)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_stay_zeros(name):
    encoder, shape = encoder_named(name), (32, 256)
    encoded = encoder.encode(torch.zeros(shape))
    assert torch.equal(decoded(encoder, encoded, shape), torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("fp8_e4m3fn", 0),
        ("int8_tensorwise", 3),
        ("int8_rowwise", 3),
        ("int8_convrot", 3),
        ("mxfp8", 2),
        ("nvfp4", 3),
    ],
)
def test_what_is_not_finite_costs_no_other_weight(name, counted):
    encoder, shape = encoder_named(name), (32, 256)
    values = weights(shape)
    bad = values.clone()
    bad[3, 5], bad[3, 6], bad[3, 7] = torch.nan, torch.inf, -torch.inf
    encoded = encoder.encode(bad)
    found = decoded(encoder, encoded, shape)
    assert encoded.clipped == counted
    sound = torch.ones(shape, dtype=torch.bool)
    sound[3, 5:8] = False
    if name == "int8_convrot":
        sound[3] = False  # its rotation spreads them over the row
    there = decoded(encoder, encoder.encode(values), shape)
    assert ((found - values).abs() <= (there - values).abs() + 0.3 * values.abs())[sound].all()


@given(st.integers(-60, 60), st.integers(0, 2**16))
def test_a_power_of_two_moves_the_scales_alone(power, seed):
    rng, factor = torch.Generator().manual_seed(seed), 2.0**power
    values = torch.randn((32, 64), generator=rng)
    for name in ("fp8_e4m3fn", "int8_rowwise", "mxfp8"):
        encoder = encoder_named(name)
        one, many = encoder.encode(values), encoder.encode(values * factor)
        assert torch.equal(one.weight.view(torch.uint8), many.weight.view(torch.uint8)), name
        found = decoded(encoder, many, (32, 64))
        assert torch.equal(decoded(encoder, one, (32, 64)) * factor, found), name


def test_a_block_far_below_the_largest_is_counted_where_it_saturates():
    """1.49 · 2⁻⁹ of the smallest step of a block's scale rounds down: its top lies beyond 6."""
    values = torch.zeros(16, 32)
    values[0, 0] = 448.0 * 6.0
    values[1, 16] = 6.0 * 1.49 * 2.0**-9
    encoded = encoder_named("nvfp4").encode(values)
    assert encoded.clipped == 1
    found = decoded(encoder_named("nvfp4"), encoded, (16, 32))
    assert float(found[1, 16]) == 6.0 * 2.0**-9
