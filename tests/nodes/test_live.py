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


def lora(model: Any, strength: float, seed: int = 1) -> Any:
    """The MODEL with a LoRA as the host's own loader makes it."""
    import comfy.lora

    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"{KEY.removesuffix('.weight')}.lora_up.weight": torch.randn(6, 2, generator=generator),
        f"{KEY.removesuffix('.weight')}.lora_down.weight": torch.randn(2, 8, generator=generator),
    }
    clone = model.clone()
    names = {KEY.removesuffix(".weight"): KEY}
    clone.add_patches(comfy.lora.load_lora(tensors, names), strength)
    return clone


def test_fingerprint_follows_what_the_patches_hold(model: Any, source_type: Any):
    def told(one: Any) -> str:
        return source_type(one, "x").fingerprint()

    clone, _ = patched(model)
    assert told(model) == told(model.clone())
    assert told(clone) == told(patched(model)[0])  # made anew, and the same
    others = [model, clone, patched(model, 0.25)[0], lora(model, 1.0), lora(model, 0.5)]
    others += [lora(model, 1.0, seed=2), lora(lora(model, 1.0), 0.5, seed=2)]
    assert len({told(one) for one in others}) == len(others)
    assert told(lora(model, 1.0)) == told(lora(model, 1.0))


def test_two_loaded_models_differ_even_without_patches(model: Any, source_type: Any):
    import copy

    from comfy.model_patcher import ModelPatcher

    twin = ModelPatcher(copy.deepcopy(model.model), torch.device("cpu"), torch.device("cpu"))
    assert source_type(model, "x").fingerprint() != source_type(twin, "x").fingerprint()


def test_patches_that_cannot_be_hashed_count_as_new(model: Any, source_type: Any):
    def made() -> Any:
        clone = model.clone()
        clone.add_patches({(KEY, None, lambda weight: weight * 2): ("diff", (torch.ones(6, 8),))})
        return clone

    assert source_type(made(), "x").fingerprint() != source_type(made(), "x").fingerprint()


def test_a_lora_reads_as_the_host_applies_it(model: Any, source_type: Any):
    clone = lora(model, 0.5)
    found = source_type(clone, "x").read("block.weight")
    with torch.inference_mode():
        clone.patch_model(torch.device("cpu"))
        theirs = clone.model.diffusion_model.block.weight.float().clone()
        clone.unpatch_model(torch.device("cpu"))
    torch.testing.assert_close(found, theirs, rtol=2**-8, atol=0)  # theirs is rounded to bf16


def test_smoothing_of_a_layers_input_is_folded_in_last(model: Any, source_type: Any):
    clone, expected = patched(model)
    smooth = torch.rand(8)
    block = model.model.diffusion_model.block
    block.register_parameter("pre_quant_scale", torch.nn.Parameter(smooth, requires_grad=False))
    source = source_type(clone, "x")
    assert set(source.entries) == {"block.weight", "block.bias", "steps"}
    assert "folded into its weight" in source.dropped["block.pre_quant_scale"]
    torch.testing.assert_close(source.read("block.weight"), expected * smooth, rtol=0, atol=1e-6)


def test_parameters_called_scale_are_weights(model: Any, source_type: Any):
    block = model.model.diffusion_model.block
    block.register_parameter("output_scale", torch.nn.Parameter(torch.ones(2)))
    assert "block.output_scale" in source_type(model, "x").entries


@pytest.fixture
def scaled(pack: ModuleType) -> tuple[Any, torch.Tensor]:
    """A MODEL of the host's own scaled-fp8 layers, and the weight that they stand for."""
    import comfy.ops
    from comfy.model_patcher import ModelPatcher

    torch.manual_seed(0)
    weight, scale = torch.randn(6, 8).to(torch.float8_e4m3fn), torch.tensor(0.37)
    state = {"weight": weight, "bias": torch.zeros(6)}
    if hasattr(comfy.ops, "scaled_fp8_ops"):
        ops = comfy.ops.scaled_fp8_ops(override_dtype=torch.float8_e4m3fn)
        state["scale_weight"] = scale
    else:  # later releases have one kind of layer for every quantization
        ops = comfy.ops.mixed_precision_ops()
        marker = b'{"format": "float8_e4m3fn"}'
        state["comfy_quant"] = torch.frombuffer(bytearray(marker), dtype=torch.uint8)
        state["weight_scale"] = scale
    inner = torch.nn.Module()
    inner.diffusion_model = torch.nn.Module()
    inner.diffusion_model.block = ops.Linear(8, 6, dtype=torch.float8_e4m3fn)
    with torch.inference_mode():
        inner.diffusion_model.block.load_state_dict(state, strict=False)
    inner.requires_grad_(False)
    cpu = torch.device("cpu")
    return ModelPatcher(inner, cpu, cpu), weight.float() * scale


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_quantised_model_with_a_lora(scaled: Any, source_type: Any, strength: float):
    model, weight = scaled
    clone = lora(model, strength) if strength else model
    source = source_type(clone, "x")
    assert source.entries["block.weight"].quant == "comfy"
    assert not [key for key in source.entries if "scale" in key]
    generator = torch.Generator().manual_seed(1)
    up, down = torch.randn(6, 2, generator=generator), torch.randn(2, 8, generator=generator)
    expected = weight + strength * (up @ down)
    torch.testing.assert_close(source.read("block.weight"), expected, rtol=1e-6, atol=1e-6)


def test_only_a_few_tensors_are_ever_copied(pack: ModuleType):
    """256 MiB of layers, each with a LoRA: in a process of its own, since it watches its peak."""
    import os
    import subprocess

    from scripts.support.env import ROOT, ensure_comfyui

    script = ROOT / "tests" / "nodes" / "live_memory.py"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(ensure_comfyui()), "16", "16"],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)},  # freed memory leaves at once
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    grown, unchanged = run.stdout.splitlines()[-1].split()
    assert unchanged == "True"
    assert float(grown) <= 4 * 32  # MiB; a tensor has 32 in float32


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


@pytest.fixture
def clip(pack: ModuleType) -> Any:
    """A CLIP of the host with one small layer instead of a text encoder."""
    import comfy.sd
    from comfy.model_patcher import ModelPatcher

    torch.manual_seed(2)
    encoder = torch.nn.Module()
    encoder.clip_l = torch.nn.Module()
    encoder.clip_l.transformer = torch.nn.Module()
    encoder.clip_l.transformer.text_model = torch.nn.Linear(4, 3).half()
    encoder.clip_l.logit_scale = torch.nn.Parameter(torch.tensor(4.6))
    encoder.requires_grad_(False)
    made = comfy.sd.CLIP(no_init=True)
    made.cond_stage_model, made.tokenizer, made.layer_idx = encoder, None, None
    made.tokenizer_options, made.use_clip_schedule, made.apply_hooks_to_conds = {}, False, None
    made.patcher = ModelPatcher(encoder, torch.device("cpu"), torch.device("cpu"))
    return made


def test_a_clip_lies_beside_the_diffusion_model_as_in_a_checkpoint(
    model: Any, clip: Any, source_type: Any
):
    weight = clip.cond_stage_model.clip_l.transformer.text_model.weight.float()
    delta = torch.randn(3, 4, generator=torch.Generator().manual_seed(4))
    patched_clip = clip.clone()
    patched_clip.add_patches({"clip_l.transformer.text_model.weight": ("diff", (delta,))}, 0.5)
    source = source_type(model, "live", patched_clip)
    text = "text_encoders.clip_l.transformer.text_model"
    assert set(source.entries) == {
        *(f"model.diffusion_model.{key}" for key in ("block.weight", "block.bias", "steps")),
        f"{text}.weight",
        f"{text}.bias",
        "text_encoders.clip_l.logit_scale",
    }
    found = source.read(f"{text}.weight")
    torch.testing.assert_close(found, weight + 0.5 * delta, rtol=0, atol=1e-6)
    expected = model.model.diffusion_model.block.weight.float()
    assert torch.equal(source.read("model.diffusion_model.block.weight"), expected)
    assert torch.equal(source.read_raw("model.diffusion_model.steps"), torch.arange(3))
    assert source.entries[f"{text}.weight"].dtype == "F16"


def test_fingerprint_follows_the_clip_too(model: Any, clip: Any, source_type: Any):
    changed = clip.clone()
    changed.add_patches({"clip_l.transformer.text_model.bias": ("diff", (torch.ones(3),))}, 0.5)
    found = [source_type(model, "x", one).fingerprint() for one in (None, clip, changed)]
    assert len(set(found)) == 3
    assert source_type(model, "x", clip.clone()).fingerprint() == found[1]
