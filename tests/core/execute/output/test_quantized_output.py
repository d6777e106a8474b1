"""A merge written in each quantizing output dtype: file and memory, hashes, kept layers, notes."""

import pytest
import torch

from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.storage import Stored, stored_as
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.quant.encoders import all_encoders, encoder_named
from orthomerge_core.io.source import Entry
from orthomerge_core.keys.detect import get_architecture
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for

NAMES = tuple(name for name, encoder in all_encoders().items() if not encoder.in_gguf)
LINEAR = ("blocks.0.attn.weight", "blocks.1.mlp.weight")


def wide_family():
    """A base and a tune whose matrices every format can write."""
    rng = torch.Generator().manual_seed(3)
    base = {key: torch.randn((64, 256), generator=rng).bfloat16() for key in LINEAR}
    base["blocks.0.mod.lin.weight"] = torch.randn((64, 256), generator=rng).bfloat16()
    base["blocks.0.norm.weight"] = torch.randn((64, 256), generator=rng).bfloat16()
    base["img_in.weight"] = torch.randn((64, 256), generator=rng).bfloat16()
    base["final_layer.linear.weight"] = torch.randn((64, 256), generator=rng).bfloat16()
    base["blocks.0.attn.bias"] = torch.randn((64,), generator=rng).bfloat16()
    tune = {
        key: (tensor.float() + 0.1 * torch.randn(tensor.shape, generator=rng)).bfloat16()
        for key, tensor in base.items()
    }
    return {"base": base, "a": tune}


@pytest.mark.parametrize("name", NAMES)
def test_file_and_memory_hold_the_same_and_read_back_as_the_merge(name, tmp_path):
    family, path = wide_family(), tmp_path / "merged.safetensors"
    spec = live_spec(family)
    recipe = recipe_for(spec, Row("a"), output_dtype=name)
    with plan_merge(recipe, spec, target=path) as plan:
        announced = plan.output_bytes
        report = run_merge(plan).report
    with plan_merge(recipe, live_spec(family)) as plan:
        preview = run_merge(plan)
        with plan_merge(recipe, live_spec(family)) as again:
            assert run_merge(again).report.content_hash == preview.report.content_hash
    assert preview.report.content_hash == report.content_hash == verify_file(path).computed
    encoder = encoder_named(name)
    assert announced == sum(t.numel() * t.element_size() for t in preview.state_dict.values())
    with open_source(path) as source:
        assert source.entries.keys() == family["base"].keys()
        quantized = {key for key, entry in source.entries.items() if entry.quant}
        for key in LINEAR:
            merged = family["a"][key].float()
            encoded = encoder.encode(merged)
            wanted = torch.cat([values for _, values in encoder.decoded(encoded, (64, 256))])
            assert torch.equal(source.read(key), wanted.view(64, 256)), key
    kept = {"blocks.0.mod.lin.weight", "final_layer.linear.weight"}
    assert quantized == set(LINEAR) | (set() if encoder.keeps_modulation else kept)
    assert 0 < report.rounding_frac < 3
    assert any(encoder.rounding in note for note in report.notes)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"fp8_e4m3fn"}))
def test_each_quantized_layer_has_the_marker_of_comfyui(name):
    spec = live_spec(wide_family())
    with plan_merge(recipe_for(spec, Row("a"), output_dtype=name), spec) as plan:
        found = run_merge(plan)
    assert "_quantization_metadata" not in found.metadata
    text = bytes(found.state_dict["blocks.0.attn.comfy_quant"].tolist()).decode()
    assert text == {
        "int8_convrot": '{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 256}',
        "int8_rowwise": '{"format": "int8_tensorwise"}',
    }.get(name, f'{{"format": "{name}"}}')


@pytest.mark.parametrize(
    ("architecture", "key", "shape", "quantized"),
    [
        ("flux1", "double_blocks.0.img_attn.qkv.weight", (9216, 3072), True),
        ("flux1", "double_blocks.0.img_mod.lin.weight", (18432, 3072), False),
        ("flux1", "img_in.weight", (3072, 64), False),
        ("flux1", "final_layer.linear.weight", (64, 3072), False),
        ("flux1", "final_layer.adaLN_modulation.1.weight", (6144, 3072), False),
        ("flux1", "time_in.in_layer.weight", (3072, 256), False),
        ("krea2", "blocks.0.attn.wq.weight", (6144, 6144), True),
        ("krea2", "last.linear.weight", (64, 6144), False),
        ("krea2", "first.weight", (6144, 64), False),
        ("anima", "blocks.0.mlp.layer1.weight", (8192, 2048), True),
        ("anima", "blocks.0.adaln_modulation_mlp.1.weight", (256, 2048), False),
        ("anima", "x_embedder.proj.1.weight", (2048, 64), False),
        ("qwen_image", "transformer_blocks.0.attn.to_q.weight", (3072, 3072), True),
        ("qwen_image", "proj_out.weight", (64, 3072), False),
        ("wan", "blocks.0.self_attn.q.weight", (1536, 1536), True),
        ("wan", "head.head.weight", (64, 1536), False),
        ("z_image", "layers.0.attention.qkv.weight", (11520, 3840), True),
        ("sdxl", "output_blocks.0.1.proj_in.weight", (1280, 1280), True),
        ("sdxl", "time_embed.0.weight", (1280, 320), False),
    ],
)
@pytest.mark.parametrize("name", ["int8_convrot", "mxfp8", "nvfp4"])
def test_which_layers_of_an_architecture_are_quantized(architecture, key, shape, quantized, name):
    found = stored_as(key, shape, Entry(shape, "BF16", 0), name, get_architecture(architecture))
    wanted = Stored(encoder_named(name).dtype, name) if quantized else Stored("BF16")
    assert found == wanted


def test_saturation_is_counted_in_the_report():
    base = {LINEAR[0]: torch.zeros(16, 32)}
    base[LINEAR[0]][0, 0] = 448.0 * 6.0
    tune = {LINEAR[0]: base[LINEAR[0]].clone()}
    tune[LINEAR[0]][1, 16] = 6.0 * 1.49 * 2.0**-9
    spec = live_spec({"base": base, "a": tune})
    with plan_merge(recipe_for(spec, Row("a"), output_dtype="nvfp4"), spec) as plan:
        notes = run_merge(plan).report.notes
    said = "1 weight is beyond what nvfp4 holds there and was stored as the nearest number it has."
    assert said in notes


def test_the_estimate_counts_what_encoding_holds():
    spec = live_spec(wide_family())
    ram = {}
    for name in ("bf16", "nvfp4"):
        with plan_merge(recipe_for(spec, Row("a"), output_dtype=name), spec) as plan:
            ram[name] = plan.estimate.ram_bytes
    assert ram["nvfp4"] - ram["bf16"] >= 5 * 64 * 256
