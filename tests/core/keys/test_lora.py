"""LoRA files as models: namings, formulas against a float64 oracle, hashes, and refusals."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from orthomerge_core.keys.align import align
from orthomerge_core.keys.content import model_content_hash
from orthomerge_core.keys.lora.factors import delta_of, modules, shape_of
from orthomerge_core.keys.opening import open_set, spec_from_paths
from tests.checkpoints import checkpoint, checkpoint_shapes
from tests.fakes import MemorySource
from tests.inventories import inventory, shrunk
from tests.loras import change, loha, lokr, lora, named, peft, tucker

UNET = "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


def laid(base, tensors, **options):
    aligned = align(MemorySource("base", base), [("l", MemorySource("l", tensors))], **options)
    return aligned, (aligned.models or (None,))[0]


def read(model, key, shape):
    out = torch.empty(shape).reshape(-1)
    model.read_into(key, out)
    return out.reshape(shape)


def expect(aligned, model, key, factors, rows=slice(None)):
    """The model is the base plus the oracle's change in these rows, and the base elsewhere."""
    shape = aligned.shapes[key]
    wanted = aligned.read_base_raw(key).double()
    part = wanted[rows]
    part += change(factors, tuple(part.shape))
    assert torch.allclose(read(model, key, shape).double(), wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", UNET),
        ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", UNET),
        ("lora_unet_mid_block_attentions_0_proj_in", "middle_block.1.proj_in.weight"),
        ("lora_unet_up_blocks_1_resnets_2_conv1", "output_blocks.5.0.in_layers.2.weight"),
        ("lora_unet_down_blocks_0_downsamplers_0_conv", "input_blocks.3.0.op.weight"),
        ("lora_unet_up_blocks_3_resnets_0_time_emb_proj", "output_blocks.9.0.emb_layers.1.weight"),
        (
            "lora_te_text_model_encoder_layers_3_mlp_fc1",
            "text_encoder.l.text_model.encoder.layers.3.mlp.fc1.weight",
        ),
    ],
)
def test_names_of_kohya_on_sd15(name, key):
    base = checkpoint("sd15")
    shape = align(MemorySource("b", base), []).shapes[key]
    factors = lora(shape)
    aligned, model = laid(base, named(name, factors))
    assert set(model.segments) == {key}
    expect(aligned, model, key, factors)


@pytest.mark.parametrize("alpha", [None, 3.0])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", UNET),
        ("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q", UNET),
        (
            "text_encoder.text_model.encoder.layers.3.mlp.fc1",
            "text_encoder.l.text_model.encoder.layers.3.mlp.fc1.weight",
        ),
    ],
)
def test_names_of_diffusers_on_sd15(name, key, alpha):
    base = checkpoint("sd15")
    factors = lora(align(MemorySource("b", base), []).shapes[key], alpha=alpha)
    tensors = peft(name, factors) | ({} if alpha is None else {f"{name}.alpha": factors["alpha"]})
    aligned, model = laid(base, tensors)
    assert set(model.segments) == {key}
    expect(aligned, model, key, factors)


@pytest.mark.parametrize("layer", ["to_k", "to_out"])
def test_names_of_older_diffusers_on_sd15(layer):
    base, block = checkpoint("sd15"), "attentions.0.transformer_blocks.0.attn1"
    key = UNET.replace("to_q", "to_out.0" if layer == "to_out" else layer)
    factors = lora(align(MemorySource("b", base), []).shapes[key])
    name = f"unet.down_blocks.0.{block}.processor.{layer}_lora"
    tensors = {f"{name}.{part}.weight": factors[f"lora_{part}.weight"] for part in ("up", "down")}
    aligned, model = laid(base, tensors)
    assert set(model.segments) == {key}
    factors.pop("alpha", None)
    expect(aligned, model, key, factors)


def test_a_file_of_whole_changes_is_a_lora():
    base = checkpoint("sd15")
    delta = torch.randn(align(MemorySource("b", base), []).shapes[UNET])
    name = "diffusion_model." + UNET.removesuffix(".weight")
    aligned, model = laid(base, {f"{name}.diff": delta})
    assert set(model.segments) == {UNET}
    wanted = aligned.read_base_raw(UNET).float() + delta
    assert torch.allclose(read(model, UNET, delta.shape), wanted, atol=1e-6)


@pytest.mark.parametrize(("part", "place"), [("q_proj", 0), ("k_proj", 1), ("v_proj", 2)])
@pytest.mark.parametrize(
    "name",
    [
        "lora_te2_text_model_encoder_layers_3_self_attn_{}",
        "text_encoder_2.text_model.encoder.layers.3.self_attn.{}",
    ],
)
def test_encoder_g_of_sdxl_takes_each_projection_by_itself(name, part, place):
    base = checkpoint("sdxl")
    key = "text_encoder.g.transformer.resblocks.3.attn.in_proj_weight"
    rows, cols = align(MemorySource("b", base), []).shapes[key]
    factors = lora((rows // 3, cols), alpha=None)
    name = name.format(part)
    tensors = named(name, factors) if name.startswith("lora") else peft(name, factors)
    aligned, model = laid(base, tensors)
    assert set(model.segments) == {key}
    third = rows // 3
    expect(aligned, model, key, factors, slice(place * third, (place + 1) * third))


@pytest.mark.parametrize(
    ("name", "key", "size", "first"),
    [
        (
            "transformer.transformer_blocks.0.attn.to_k",
            "double_blocks.0.img_attn.qkv.weight",
            3072,
            3072,
        ),
        (
            "transformer.single_transformer_blocks.1.attn.to_v",
            "single_blocks.1.linear1.weight",
            3072,
            6144,
        ),
        (
            "transformer.single_transformer_blocks.1.proj_mlp",
            "single_blocks.1.linear1.weight",
            12288,
            9216,
        ),
        ("lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv.weight", 9216, 0),
    ],
)
def test_stacked_layers_of_flux(name, key, size, first):
    shapes = shrunk(inventory("flux1-dev"), 64)
    g = torch.Generator().manual_seed(0)
    base = {k: torch.randn(s, generator=g) for k, s in shapes.items()}
    rows, first = size // 64, first // 64
    factors = lora((rows, shapes[key][1]), alpha=None)
    tensors = named(name, factors) if name.startswith("lora") else peft(name, factors)
    aligned, model = laid(base, tensors)
    expect(aligned, model, key, factors, slice(first, first + rows))


FORMS = {"lora": lora, "tucker": tucker, "loha": loha, "lokr": lokr}
CASES = [(n, s) for n in FORMS for s in ((8, 6), (8, 6, 3, 3)) if n != "tucker" or len(s) == 4]


def oracle(form, f, shape):
    """δ of each kind in float64, elementwise from its definition."""
    f = {k: v.double() for k, v in f.items()}
    if form == "lora":
        return change(f, shape)
    if form == "tucker":
        up, down = f["lora_up.weight"][:, :, 0, 0], f["lora_down.weight"][:, :, 0, 0]
        return torch.einsum("op,pqhw,qi->oihw", up, f["lora_mid.weight"], down) * f["alpha"] / 2
    if form == "loha":
        first, second = (f[f"hada_{s}_a"] @ f[f"hada_{s}_b"] for s in ("w1", "w2"))
        return (first * second * f["alpha"] / 2).reshape(shape)
    second = f["lokr_w2"] if "lokr_w2" in f else f["lokr_w2_a"] @ f["lokr_w2_b"]
    first = f["lokr_w1"].reshape(2, 2, *[1] * (second.dim() - 2))
    scale = 1.0 if "lokr_w2" in f else f["alpha"] / 2
    return torch.kron(first, second) * scale


@pytest.mark.parametrize(("form", "shape"), CASES)
def test_formulas(form, shape):
    factors = FORMS[form](shape)
    source = MemorySource("l", named("x", factors))
    (module,) = modules(source.entries).values()
    assert shape_of(module, source) == (shape[0], oracle(form, factors, shape)[0].numel())
    delta = delta_of(module, source)
    whole = delta.read(0, oracle(form, factors, shape).numel()).reshape(shape).double()
    assert torch.allclose(whole, oracle(form, factors, shape), atol=1e-6, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CASES), st.integers(0, 431), st.integers(0, 431))
def test_any_range_is_the_range_of_the_whole(case, a, b):
    form, shape = case
    source = MemorySource("l", named("x", FORMS[form](shape)))
    (module,) = modules(source.entries).values()
    delta = delta_of(module, source)
    total = shape[0] * (54 if len(shape) == 4 else 6)
    low, high = sorted((a % total, b % total))
    assert torch.allclose(delta.read(low, high), delta.read(0, total)[low:high], atol=1e-6)


def test_a_bias_is_changed_too():
    base = checkpoint("sd15")
    name, key = "lora_unet_mid_block_attentions_0_proj_in", "middle_block.1.proj_in.bias"
    size = base[f"model.diffusion_model.{key}"].numel()
    tensors = {f"{name}.diff_b": torch.arange(float(size))}
    aligned, model = laid(base, tensors)
    wanted = aligned.read_base_raw(key).float() + torch.arange(float(size))
    assert torch.equal(read(model, key, (size,)), wanted)


def test_a_lora_has_one_content_hash_whatever_its_base_and_name():
    factors = named("lora_unet_mid_block_attentions_0_proj_in", lora((40, 40, 1, 1)))
    bases = [checkpoint("sd15", seed) for seed in (0, 1)]
    hashes = {model_content_hash(laid(base, factors)[1]) for base in bases}
    assert len(hashes) == 1
    other = {k: t + 1 for k, t in factors.items()}
    assert model_content_hash(laid(bases[0], other)[1]) not in hashes


def test_a_set_keeps_the_loras_file_open_and_closes_it(tmp_path):
    base = checkpoint("sd15")
    factors = lora((40, 40, 1, 1))
    save_file({k: t.contiguous() for k, t in base.items()}, tmp_path / "base.safetensors")
    save_file(
        named("lora_unet_mid_block_attentions_0_proj_in", factors), tmp_path / "lora.safetensors"
    )
    spec = spec_from_paths(tmp_path / "base.safetensors", [tmp_path / "lora.safetensors"])
    with open_set(spec) as aligned:
        expect(aligned, aligned.models[0], "middle_block.1.proj_in.weight", factors)
        report = aligned.models[0].report
    assert report.verdict == "a LoRA that changes 1 of the 686 tensors of the diffusion model"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            named("lora_unet_x", lora((4, 4)) | {"oft_blocks": torch.ones(4, 1)}),
            "an adapter of the kind OFT",
        ),
        ({"diffusion_model.a.set_weight": torch.ones(4, 4)}, "an adapter of the kind set_weight"),
        (named("lora_unet_double_blocks_0_x", lora((4, 4))), "a LoRA for another architecture"),
        (named("lora_unet_mid_block_attentions_0_proj_in", lora((4, 4))), "another architecture"),
    ],
)
def test_what_cannot_be_laid_over_the_base_is_a_misfit_with_its_reason(tensors, words):
    aligned, model = laid(checkpoint("sd15"), tensors)
    assert model is None and words in aligned.skipped[0].verdict


def test_layers_that_nobody_knows_are_said():
    tensors = named("lora_unet_mid_block_attentions_0_proj_in", lora((40, 40, 1, 1)))
    tensors |= named("lora_unet_nowhere", lora((4, 4)))
    _, model = laid(checkpoint("sd15"), tensors)
    assert model.report.findings == (
        "1 layer of the LoRA is not known in the base (lora_unet_nowhere): not merged.",
    )


def test_every_layer_of_the_unet_has_a_name_of_kohya():
    from orthomerge_core.keys.known import get_architecture
    from orthomerge_core.keys.lora.names import layer_names
    from orthomerge_core.keys.normalize import normalize_shapes

    keys = normalize_shapes(checkpoint_shapes("sd15")).pieces
    names = layer_names(get_architecture("sd15"), keys)
    matrices = {k.removesuffix(".weight") for k in keys if k.endswith(".weight")}
    assert set(names.values()) == matrices
    assert min(Counter(names.values()).values()) == 2, "the base's own name and diffusers'"


def decomposed(kind, weight, delta, scale):
    """W' in float64: lengths per output as ComfyUI measures them, per input, and per PEFT."""
    whole = weight + delta
    flat = whole.reshape(len(whole), -1)
    if kind == "peft":
        norm = flat.norm(dim=1)
    elif kind == "output":
        norm = weight.reshape(len(weight), -1).norm(dim=1)
    else:
        norm = whole.transpose(0, 1).reshape(whole.shape[1], -1).norm(dim=1)
        return whole * (scale.reshape(-1) / norm).reshape(1, -1, *[1] * (whole.dim() - 2))
    return whole * (scale.reshape(-1) / norm).reshape(-1, *[1] * (whole.dim() - 1))


@pytest.mark.parametrize("kind", ["output", "input", "peft"])
@pytest.mark.parametrize("name", ["mid_block_attentions_0_proj_in", "mid_block_resnets_0_conv1"])
@pytest.mark.parametrize("form", ["lora", "loha"])
def test_a_dora_sets_the_lengths_of_rows_or_columns(kind, name, form):
    base = checkpoint("sd15", dtype=torch.float32)
    key = {"mid_block_attentions_0_proj_in": "middle_block.1.proj_in.weight"}.get(
        name, "middle_block.0.in_layers.2.weight"
    )
    weight = base[f"model.diffusion_model.{key}"].double()
    factors = FORMS[form](tuple(weight.shape))
    g = torch.Generator().manual_seed(7)
    ones = [1] * (weight.dim() - 2)
    shape = {"output": (len(weight), 1, *ones), "input": (1, weight.shape[1], *ones)}
    scale = torch.rand(shape.get(kind, (len(weight),)), generator=g) + 0.5
    if kind == "input" and weight.shape[0] == 1:
        pytest.skip("one row")
    part = "lora_magnitude_vector.weight" if kind == "peft" else "dora_scale"
    _, model = laid(base, named(f"lora_unet_{name}", {**factors, part: scale}))
    delta = oracle(form, factors, tuple(weight.shape)).reshape(weight.shape)
    wanted = decomposed(kind, weight, delta, scale.double())
    whole = read(model, key, tuple(weight.shape))
    torch.testing.assert_close(whole.double(), wanted, rtol=1e-5, atol=1e-5)
    start, stop = weight.numel() // 3, weight.numel() // 3 + 77
    piece = torch.empty(stop - start)
    model.read_into(key, piece, start)
    assert torch.equal(piece, whole.reshape(-1)[start:stop])
    other = named(f"lora_unet_{name}", {**factors, part: scale + 1})
    assert model_content_hash(laid(base, other)[1]) != model_content_hash(model)


def test_lengths_of_another_count_are_a_misfit():
    factors = lora((40, 40, 1, 1)) | {"dora_scale": torch.ones(7, 1, 1, 1)}
    aligned, model = laid(
        checkpoint("sd15"), named("lora_unet_mid_block_attentions_0_proj_in", factors)
    )
    assert model is None and "another architecture" in aligned.skipped[0].verdict
