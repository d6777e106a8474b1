"""A fine-tune of a bf16 base in every format: all of it readable through the alignment."""

import json

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.io.opening import open_source
from orthomerge_core.keys.opening import open_set, spec_from_paths

SHAPES = {
    "double_blocks.0.img_attn.qkv.weight": (96, 64),
    "double_blocks.0.img_attn.qkv.bias": (96,),
    "double_blocks.1.img_attn.qkv.weight": (96, 64),
    "final_layer.linear.weight": (20, 90),  # not a multiple of any block
}
BASE = {key: torch.randn(shape).bfloat16() for key, shape in SHAPES.items()}


def tuned():
    return {key: base.float() + 0.05 * torch.randn(base.shape) for key, base in BASE.items()}


def bf16(folder, weights):
    save_file({k: w.bfloat16() for k, w in weights.items()}, folder / "m.safetensors")


def full_checkpoint(folder, weights):
    tensors = {f"model.diffusion_model.{k}": w.half() for k, w in weights.items()}
    extra = {"first_stage_model.a": torch.ones(3), "cond_stage_model.b": torch.ones(3)}
    save_file(tensors | extra, folder / "m.safetensors")


def scaled_fp8(folder, weights):
    tensors = {"scaled_fp8": torch.zeros(2)}
    for key, weight in weights.items():
        tensors[key] = weight.bfloat16()
        if weight.dim() == 2:
            scale = weight.abs().max() / 448
            tensors[key] = (weight / scale).to(torch.float8_e4m3fn)
            tensors[key.replace(".weight", ".scale_weight")] = scale
    save_file(tensors, folder / "m.safetensors")


def nvfp4(folder, weights):
    layout = pytest.importorskip("comfy_kitchen.tensor").TensorCoreNVFP4Layout
    marker = torch.tensor(list(json.dumps({"format": "nvfp4"}).encode()), dtype=torch.uint8)
    tensors = {}
    for key, weight in weights.items():
        tensors[key] = weight.bfloat16()
        if weight.dim() == 2:
            data, params = layout.quantize(weight)
            layer = key.removesuffix(".weight")
            tensors |= {key: data, f"{layer}.weight_scale": params.block_scale}
            tensors |= {
                f"{layer}.weight_scale_2": params.scale,
                f"{layer}.comfy_quant": marker.clone(),
            }
    save_file(tensors, folder / "m.safetensors")


def q8_0(folder, weights):
    gguf = pytest.importorskip("gguf")
    kind = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(folder / "m.gguf", "flux")
    for key, weight in weights.items():
        blocks = weight.dim() == 2 and weight.shape[1] % 32 == 0
        data = gguf.quantize(weight.numpy(), kind) if blocks else weight.numpy()
        writer.add_tensor(key, data, raw_dtype=kind if blocks else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("store", "error"),
    [(bf16, 0.004), (full_checkpoint, 0.001), (scaled_fp8, 0.04), (nvfp4, 0.12), (q8_0, 0.01)],
)
def test_every_format_lies_over_the_base(tmp_path, store, error):
    save_file(BASE, tmp_path / "base.safetensors")
    weights = tuned()
    store(tmp_path, weights)
    model = next(p for p in tmp_path.iterdir() if p.stem == "m")
    with open_set(spec_from_paths(tmp_path / "base.safetensors", [model])) as aligned:
        assert set(aligned.keys) == set(SHAPES) and aligned.models[0].report.coverage_frac == 1.0
        for key, weight in weights.items():
            out = torch.empty(weight.numel())
            aligned.models[0].read_into(key, out)
            assert (out - weight.reshape(-1)).norm() <= error * weight.norm()
    with open_source(model) as source:
        assert not any("scale" in key or "quant" in key for key in source.entries)
