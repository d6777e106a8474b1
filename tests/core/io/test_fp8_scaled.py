"""Scaled fp8 against comfy-kitchen's own dequantizer where it is installed, and by hand."""

import json

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import FileError, HeaderError, UnsupportedError
from orthomerge_core.io.opening import open_source

WEIGHT = torch.randn(6, 40).to(torch.float8_e4m3fn)
SCALE = torch.tensor(0.0173)


def opened(tmp_path, tensors, metadata=None, **options):
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, metadata)
    return open_source(path, **options)


def expected(weight=WEIGHT, scale=SCALE):
    return weight.to(torch.float32) * scale.to(torch.float32)


def marker(**options):
    return torch.tensor(list(json.dumps(options).encode()), dtype=torch.uint8)


FILES = {
    "scaled_fp8": {
        "model.diffusion_model.scaled_fp8": torch.zeros(0).to(torch.float8_e4m3fn),
        "l.weight": WEIGHT,
        "l.scale_weight": SCALE,
        "l.scale_input": torch.ones(1),
    },
    "weight_scale": {"l.weight": WEIGHT, "l.weight_scale": SCALE, "l.input_scale": torch.ones(())},
    "comfy_quant": {
        "l.weight": WEIGHT,
        "l.weight_scale": SCALE,
        "l.comfy_quant": marker(format="float8_e4m3fn", full_precision_matrix_mult=True),
    },
}


@pytest.mark.parametrize("kind", FILES)
def test_each_marker(tmp_path, kind):
    with opened(tmp_path, {**FILES[kind], "l.bias": torch.ones(3)}) as source:
        assert list(source.entries) == ["l.bias", "l.weight"] or set(source.entries) == {
            "l.bias",
            "l.weight",
        }
        assert source.entries["l.weight"].quant == "fp8_scaled"
        assert source.entries["l.weight"].n_bytes == 6 * 40 + 4
        assert source.entries["l.bias"].quant is None
        assert torch.equal(source.read("l.weight"), expected())
        assert torch.equal(source.read_raw("l.weight"), expected())
        assert all(source.dropped.values())


def test_agrees_with_comfy_kitchen(tmp_path):
    kitchen = pytest.importorskip("comfy_kitchen")
    with opened(tmp_path, FILES["weight_scale"]) as source:
        theirs = kitchen.dequantize_per_tensor_fp8(WEIGHT, SCALE, torch.float32)
        assert torch.equal(source.read("l.weight"), theirs)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_metadata(tmp_path, prefix):
    layers = {"format_version": "1.0", "layers": {"l": {"format": "float8_e4m3fn"}}}
    tensors = {f"{prefix}l.weight": WEIGHT, f"{prefix}l.weight_scale": SCALE}
    meta = {"_quantization_metadata": json.dumps(layers)}
    with opened(tmp_path, tensors, meta) as source:
        assert torch.equal(source.read(f"{prefix}l.weight"), expected())


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_row_scales_in_any_pieces(tmp_path, shape):
    scale = torch.rand(6)
    with opened(tmp_path, {"l.weight": WEIGHT, "l.weight_scale": scale.view(shape)}) as source:
        out = torch.empty(240)
        for low in range(0, 240, 17):
            source.read_into("l.weight", out[low : low + 17], low)
        assert torch.equal(out.view(6, 40), expected(scale=scale[:, None]))


def test_conv_weight_and_e5m2(tmp_path):
    weight = torch.randn(4, 3, 2, 2).to(torch.float8_e5m2)
    scale = torch.rand(4, 1, 1, 1).bfloat16()
    with opened(tmp_path, {"l.weight": weight, "l.scale_weight": scale}) as source:
        assert torch.equal(source.read("l.weight"), expected(weight, scale))


def test_plain_fp8_is_no_quantization(tmp_path):
    with opened(tmp_path, {"l.weight": WEIGHT}) as source:
        assert source.entries["l.weight"].quant is None
        assert torch.equal(source.read("l.weight"), WEIGHT.float())


def test_hash_covers_the_scale(tmp_path):
    hashes = []
    for scale in (SCALE, SCALE * 2):
        with opened(tmp_path, {"l.weight": WEIGHT, "l.weight_scale": scale}) as source:
            assert source.tensor_hashes() == {}
            source.read("l.weight")
            hashes.append(source.tensor_hashes()["l.weight"])
    assert len(hashes[0]) == 32 and hashes[0] != hashes[1]


def test_what_is_quantized_is_hashed_again(tmp_path):
    tensors = {"l.weight": WEIGHT, "l.weight_scale": SCALE, "l.bias": torch.ones(3)}
    with opened(tmp_path, tensors) as source:
        source.trust({"l.weight": "0" * 32, "l.bias": "1" * 32})
        assert source.tensor_hashes() == {"l.bias": "1" * 32}
        source.read("l.weight")
        source.read("l.bias")
        found = source.tensor_hashes()
    assert found["l.bias"] == "1" * 32 and found["l.weight"] not in ("0" * 32, "1" * 32)


def test_not_dequantized_means_left_out(tmp_path):
    tensors = {**FILES["weight_scale"], "l.bias": torch.ones(3)}
    with opened(tmp_path, tensors, dequantize=False) as source:
        assert list(source.entries) == ["l.bias"]
        assert source.dropped["l.weight"] == (
            "quantized (fp8_scaled), and dequantizing is switched off"
        )


def test_unknown_format_is_named(tmp_path):
    tensors = {"l.weight": WEIGHT, "l.comfy_quant": marker(format="float8_e4m3")}
    with pytest.raises(UnsupportedError) as caught:
        opened(tmp_path, tensors)
    assert 'unknown quantization "float8_e4m3". Did you mean "float8_e4m3fn"?' in str(caught.value)


def test_scale_missing(tmp_path):
    tensors = {"l.weight": WEIGHT, "l.comfy_quant": marker(format="float8_e4m3fn")}
    with pytest.raises(HeaderError, match=r'lacks its float8_e4m3fn scale: expected "l\.weight_sc'):
        opened(tmp_path, tensors)


def test_weight_missing(tmp_path):
    with pytest.raises(HeaderError, match='marks layer "l" as quantized but has no weight'):
        opened(tmp_path, {"l.comfy_quant": marker(format="float8_e4m3fn")})


def test_scale_of_unknown_meaning(tmp_path):
    tensors = {"l.weight": torch.zeros(4, 4, dtype=torch.int8), "l.weight_scale": SCALE}
    with pytest.raises(UnsupportedError, match=r'nothing says how "l\.weight" is quantized'):
        opened(tmp_path, tensors)


def test_a_scale_beside_bfloat16(tmp_path):
    """The older marker scales such layers too; the newer name explains nothing there."""
    weight = torch.randn(4, 8).bfloat16()
    tensors = {"l.weight": weight, "l.scale_weight": SCALE, "m.input_scale": torch.ones(2)}
    with opened(tmp_path, tensors) as source:
        assert torch.equal(source.read("l.weight"), expected(weight))
        assert "m.input_scale" in source.entries
    with pytest.raises(UnsupportedError, match="nothing says how"):
        opened(tmp_path, {"l.weight": weight, "l.weight_scale": SCALE})


def test_wrong_scale_shape(tmp_path):
    tensors = {"l.weight": WEIGHT, "l.weight_scale": torch.ones(3)}
    with pytest.raises(UnsupportedError, match=r"unknown scale shape: expected \[\] or \[6, 1\]"):
        opened(tmp_path, tensors)


@pytest.mark.parametrize(
    "marker_tensor", [torch.zeros(4, dtype=torch.uint8), torch.ones(4), marker(kind="x")]
)
def test_unreadable_markers(tmp_path, marker_tensor):
    with pytest.raises(HeaderError, match=r'"l\.comfy_quant" in "m\.safetensors"'):
        opened(tmp_path, {"l.weight": WEIGHT, "l.comfy_quant": marker_tensor})


@pytest.mark.parametrize(
    ("key", "program"),
    [
        ("l.weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
        ("l.weight.absmax", "bitsandbytes"),
        ("l.wscales", "nunchaku"),
        ("l.qzeros", "GPTQ or AWQ"),
        ("l.qweight", "GPTQ, AWQ or nunchaku"),
        ("l.proj_down", "nunchaku"),
        ("l.SCB", "LLM.int8"),
        ("l.weight._data", "optimum-quanto"),
    ],
)
def test_other_programs_are_refused_by_name(tmp_path, key, program):
    with pytest.raises(UnsupportedError) as caught:
        opened(tmp_path, {"l.weight": WEIGHT, key: torch.zeros(2)})
    assert program in str(caught.value) and "Use the BF16" in str(caught.value)


@pytest.mark.parametrize("suffix", ["weight_scale_inv", "zero_point", "scale"])
def test_scales_of_unknown_kinds_are_not_overlooked(tmp_path, suffix):
    with pytest.raises(UnsupportedError) as caught:
        opened(tmp_path, {"l.weight": WEIGHT, f"l.{suffix}": torch.ones(1)})
    assert f'has "l.{suffix}" but nothing says how "l.weight" is quantized' in str(caught.value)


def test_parameters_called_scale_are_weights(tmp_path):
    names = ("norm.scale", "l.output_scale", "l.proj_down.weight")
    with opened(
        tmp_path, {"l.weight": torch.ones(2), **{n: torch.ones(2) for n in names}}
    ) as source:
        assert set(names) <= set(source.entries)


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin"])
def test_pickles_are_refused(tmp_path, suffix):
    with pytest.raises(UnsupportedError, match=r"pickle checkpoint.*Convert it to safetensors"):
        open_source(tmp_path / f"m{suffix}")


def test_other_suffixes_and_folders(tmp_path):
    with pytest.raises(UnsupportedError, match=r"received \.onnx"):
        open_source(tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match=r"received no suffix"):
        open_source(tmp_path / "m")
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(
        FileError, match=r'"d\.safetensors" is a folder\. Choose a model file in it'
    ):
        open_source(tmp_path / "d.safetensors")
