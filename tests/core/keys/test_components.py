"""Components of checkpoints: real key lists, spellings, schedules, EMA copies and missing parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from orthomerge_core.errors import CompatibilityError
from orthomerge_core.keys.align import align
from orthomerge_core.keys.components import component_of, is_schedule
from orthomerge_core.keys.normalize import normalize_shapes
from orthomerge_core.keys.report import compat_text
from orthomerge_core.keys.setspec import Repairs
from tests.checkpoints import checkpoint, checkpoint_shapes
from tests.fakes import MemorySource
from tests.inventories import inventory, shrunk

COUNTS = {
    "sd15": {"diffusion": 686, "text_encoder.l": 197, "vae": 248},
    "sdxl": {"diffusion": 1680, "text_encoder.l": 197, "text_encoder.g": 390, "vae": 248},
}


def counts(keys):
    found = {}
    for key in keys:
        found[component_of(key)] = found.get(component_of(key), 0) + 1
    return found


@pytest.mark.parametrize("name", COUNTS)
def test_real_key_lists_fall_into_their_components(name):
    view = normalize_shapes(checkpoint_shapes(name))
    assert view.architecture.name == name
    assert counts([*view.pieces, *view.parts]) == COUNTS[name]
    assert all(is_schedule(key) for key in view.left_out["outside the diffusion model"])


@pytest.mark.parametrize("name", COUNTS)
def test_every_tensor_of_a_checkpoint_is_merged_or_carried_under_its_own_name(name):
    base = checkpoint(name)
    source = MemorySource("base", base)
    aligned = align(source, [("m", MemorySource("m", checkpoint(name, 1, base=base)))])
    assert sorted(aligned.stored_names.values()) == sorted(base)
    assert list(aligned.stored_names.values()) == list(base), "the order of the base's file"
    assert set(aligned.stored_names) == {*aligned.keys, *aligned.passthrough}
    assert all(is_schedule(key) for key in aligned.passthrough)
    assert not any(is_schedule(key) for key in aligned.keys)
    (model,) = aligned.models
    assert set(model.segments) == set(aligned.keys)
    assert {p.words for p in model.report.parts} == {"as in the base"}


def test_a_diffusion_model_keeps_its_keys_with_and_without_components():
    tensors = {k: torch.randn(s) for k, s in shrunk(inventory("sdxl")).items()}
    with_parts, without = (
        align(MemorySource("b", tensors), [("m", MemorySource("m", tensors))], components=on)
        for on in (True, False)
    )
    assert with_parts.keys == without.keys and with_parts.passthrough == without.passthrough
    assert with_parts.models[0].report == replace(
        without.models[0].report, parts=with_parts.models[0].report.parts
    )
    assert with_parts.components == ("diffusion",)


@pytest.mark.parametrize("missing", ["cond_stage_model.", "first_stage_model."])
def test_a_model_without_a_component_has_no_change_there_and_is_said_to(missing):
    base = checkpoint("sd15")
    model = {k: t for k, t in checkpoint("sd15", 1, base=base).items() if not k.startswith(missing)}
    aligned = align(MemorySource("base", base), [("m", MemorySource("m", model))])
    name = {"cond_stage_model.": "text_encoder.l", "first_stage_model.": "vae"}[missing]
    assert not any(aligned.models[0].has(k) for k in aligned.keys if component_of(k) == name)
    part = next(p for p in aligned.models[0].report.parts if p.name == name)
    assert (part.tensors, part.matched) == (0, 0)
    assert part.words == "not in this file: no change there"
    assert f"{part.label}: not in this file: no change there" in compat_text(aligned)
    assert aligned.models[0].report.missing == 0, "the diffusion model is complete"


def test_text_encoder_l_with_and_without_text_model_is_one():
    base = checkpoint("sd15")
    old = {k.replace("transformer.text_model.", "transformer."): t for k, t in base.items()}
    assert set(old) != set(base)
    for first, second in ((base, old), (old, base)):
        aligned = align(MemorySource("b", first), [("m", MemorySource("m", second))])
        assert set(aligned.models[0].segments) == set(aligned.keys)
        assert sorted(aligned.stored_names.values()) == sorted(first)


def openclip_to_huggingface(tensors):
    """Encoder G in Hugging Face's names, written as a table independent of the code under test."""
    found = {}
    for key, tensor in tensors.items():
        prefix = "conditioner.embedders.1.model."
        if not key.startswith(prefix):
            found[key] = tensor
            continue
        rest = key[len(prefix) :]
        new = "text_encoders.clip_g.transformer."
        if "in_proj_" in rest:
            layer, kind = rest.split(".")[2], rest.rsplit("_", 1)[1]
            for name, part in zip("qkv", tensor.chunk(3), strict=True):
                found[f"{new}text_model.encoder.layers.{layer}.self_attn.{name}_proj.{kind}"] = part
            continue
        table = {
            "transformer.resblocks.": "text_model.encoder.layers.",
            ".ln_1.": ".layer_norm1.",
            ".ln_2.": ".layer_norm2.",
            ".mlp.c_fc.": ".mlp.fc1.",
            ".mlp.c_proj.": ".mlp.fc2.",
            ".attn.out_proj.": ".self_attn.out_proj.",
            "ln_final.": "text_model.final_layer_norm.",
            "token_embedding.": "text_model.embeddings.token_embedding.",
        }
        for old, name in table.items():
            rest = rest.replace(old, name)
        if rest == "positional_embedding":
            rest = "text_model.embeddings.position_embedding.weight"
        if rest == "text_projection":
            rest, tensor = "text_projection.weight", tensor.T
        found[new + rest] = tensor
    return found


@pytest.mark.parametrize("base_form", ["openclip", "huggingface"])
def test_encoder_g_is_read_in_the_names_of_the_base(base_form):
    plain = checkpoint("sdxl", factor=16)
    tuned = checkpoint("sdxl", 1, base=plain, factor=16)
    base, model = plain, openclip_to_huggingface(tuned)
    expected = tuned
    if base_form == "huggingface":
        base, model, expected = (
            openclip_to_huggingface(plain),
            tuned,
            openclip_to_huggingface(tuned),
        )
    aligned = align(MemorySource("b", base), [("m", MemorySource("m", model))])
    (found,) = aligned.models
    for key in aligned.keys_of("text_encoder.g"):
        if "text_projection" in key:
            continue  # transposed between the two forms
        stored = expected[aligned.stored_names[key]]
        assert torch.equal(found.read_raw(key, tuple(stored.shape)), stored), key
        out = torch.empty(stored.numel())
        found.read_into(key, out)
        assert torch.equal(out, stored.float().reshape(-1)), key


def with_ema(tensors, value):
    prefix = "model.diffusion_model."
    ema = {
        "model_ema." + key.removeprefix("model.").replace(".", ""): torch.full_like(tensor, value)
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    return tensors | ema | {"model_ema.decay": torch.tensor(0.9999)}


def test_ema_copies_are_left_out_or_chosen():
    base = checkpoint("sd15")
    model = with_ema(checkpoint("sd15", 1, base=base), 7.0)
    sources = MemorySource("b", base), MemorySource("m", model)
    aligned = align(sources[0], [("m", sources[1])])
    key = "input_blocks.1.0.in_layers.2.weight"
    assert not (aligned.models[0].read_raw(key, aligned.shapes[key]) == 7.0).any()
    assert any("EMA copy" in line for line in aligned.models[0].report.findings)
    chosen = align(sources[0], [("m", sources[1])], repairs=Repairs(use_ema=True))
    (found,) = chosen.models
    assert "use_ema" in found.report.repairs
    for key in chosen.keys_of("diffusion"):
        assert (found.read_raw(key, chosen.shapes[key]) == 7.0).all()
    for key in chosen.keys_of("text_encoder.l"):
        assert not (found.read_raw(key, chosen.shapes[key]) == 7.0).all()


def test_another_vae_than_the_base_has_changes_nothing():
    base = checkpoint("sd15")
    model = checkpoint("sd15", 1, base=base)
    wide = {k: torch.randn(3, 5) for k in model if k.startswith("first_stage_model.")}
    aligned = align(MemorySource("b", base), [("m", MemorySource("m", model | wide))])
    part = next(p for p in aligned.models[0].report.parts if p.name == "vae")
    assert part.words == "another size than the base's: no change there"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}, "a text encoder"),
        ({"decoder.mid.block_1.conv1.weight": (4, 4, 3, 3)}, "a VAE"),
    ],
)
def test_bare_text_encoders_and_vaes_are_recognized(keys, words):
    source = MemorySource("b", {k: torch.zeros(s) for k, s in keys.items()})
    model = MemorySource("m", checkpoint("sd15"))
    aligned = align(MemorySource("base", checkpoint("sd15")), [("m", model), ("odd", source)])
    assert aligned.skipped[0].verdict.startswith(words)


def test_an_encoder_alone_is_no_base():
    keys = [k for k in checkpoint_shapes("sd15") if k.startswith("cond_stage_model.")]
    source = MemorySource("clip", {k: torch.zeros(2, 2) for k in keys})
    with pytest.raises(CompatibilityError, match="a text encoder, not a diffusion model"):
        align(source, [])
