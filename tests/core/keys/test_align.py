"""Models over their base: prefixes, checkpoints, names, shapes, misfits, duplicates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import CompatibilityError
from orthomerge_core.keys.align import align
from orthomerge_core.keys.aligned import AlignedModel, ModelReport, Segment
from orthomerge_core.keys.prefixes import PREFIXES
from orthomerge_core.keys.setspec import ModelSpec, Repairs
from tests.core.keys.small import sd3, source
from tests.fakes import MemorySource
from tests.inventories import inventory, shrunk


def test_plain_models_share_every_key():
    aligned = align(source("base.safetensors", sd3()), [("a", source("a.safetensors", sd3(1)))])
    assert aligned.architecture.name == "sd3"
    assert aligned.keys == tuple(sd3())
    report = aligned.models[0].report
    assert (report.matched, report.missing, report.extra, report.mismatched) == (
        51 - 1 + 1,
        0,
        0,
        0,
    )
    assert report.coverage_frac == 1.0 and report.ok and report.duplicate_of is None
    assert report.verdict == "same architecture as the base"
    assert report.dtype == "BF16" and report.quantisation == "none" and report.repairs == ()


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("side", ["base", "model", "both"])
def test_every_usual_prefix_comes_off(prefix, side):
    tensors = sd3(1)
    base = source("base", sd3(), prefix if side != "model" else "")
    model = source("m", tensors, prefix if side != "base" else "")
    aligned = align(base, [("m", model)])
    assert aligned.keys == tuple(sd3())
    assert aligned.models[0].report.coverage_frac == 1.0
    assert ("fix_prefixes" in aligned.models[0].report.repairs) == (side != "base")
    out = torch.empty(64)
    aligned.models[0].read_into("joint_blocks.0.x_block.attn.proj.weight", out)
    assert torch.equal(out, tensors["joint_blocks.0.x_block.attn.proj.weight"].float().reshape(-1))


def test_prefixes_stay_where_the_repair_is_off():
    model = source("m", sd3(1), "model.diffusion_model.")
    aligned = align(source("b", sd3()), [("m", model)], repairs=Repairs(fix_prefixes=False))
    assert aligned.models == ()
    assert aligned.skipped[0].coverage_frac == 0.0


def test_unknown_prefix_is_learned_by_comparison():
    base = MemorySource("b", {f"trunk.{i}.a.weight": torch.randn(3, 3) for i in range(6)})
    model = MemorySource("m", {f"wrap.inner.{k}": v + 1 for k, v in base.tensors.items()})
    back = MemorySource("r", {k.removeprefix("trunk."): v + 2 for k, v in base.tensors.items()})
    aligned = align(base, [("m", model), ("r", back)])
    assert [m.report.coverage_frac for m in aligned.models] == [1.0, 1.0]
    assert torch.equal(
        aligned.model("r").read_raw("trunk.0.a.weight", (3, 3)), back.tensors["0.a.weight"]
    )


REST = {
    "first_stage_model.decoder.conv_in.weight": torch.zeros(2, 2),
    "text_encoders.clip_l.transformer.text_model.embeddings.weight": torch.zeros(2),
    "conditioner.embedders.0.x": torch.zeros(1),
    "model_ema.decay": torch.tensor(0.9),
    "alphas_cumprod": torch.zeros(5),
    "v_pred": torch.zeros(0),
}


def test_the_diffusion_model_alone_leaves_the_rest_of_a_checkpoint_out():
    base = source("full", sd3(), "model.diffusion_model.", **REST)
    model = source("m", sd3(1), "model.diffusion_model.", **REST)
    aligned = align(base, [("m", model)], components=False)
    assert aligned.keys == tuple(sd3()) and aligned.passthrough == ("v_pred",)
    report = aligned.models[0].report
    assert report.repairs == ("fix_prefixes",) and report.parts == ()
    text = " ".join(report.findings)
    for words in (
        "2 tensors are left out: text encoder",
        "1 tensor is left out: VAE",
        "EMA copy",
        "alphas_cumprod",
    ):
        assert words in text
    assert aligned.read_base_raw("v_pred").shape == (0,)


def test_a_full_checkpoint_gives_all_of_its_components():
    base = source("full", sd3(), "model.diffusion_model.", **REST)
    aligned = align(base, [("m", source("m", sd3(1), "model.diffusion_model.", **REST))])
    beside = ("text_encoder.l.text_model.embeddings.weight", "vae.decoder.conv_in.weight")
    assert set(aligned.keys) == {*sd3(), *beside} and aligned.keys[: len(sd3())] == tuple(sd3())
    assert set(aligned.passthrough) == {"v_pred", "alphas_cumprod", "conditioner.embedders.0.x"}
    report = aligned.models[0].report
    assert [(p.name, p.matched, p.words) for p in report.parts] == [
        ("vae", 1, "as in the base"),
        ("text_encoder.l", 1, "as in the base"),
    ]
    assert (report.matched, report.extra, report.coverage_frac) == (len(sd3()), 0, 1.0)


def test_components_that_the_base_lacks_are_said_and_not_merged():
    model = source("m", sd3(1), **{"text_encoders.clip_l.x": torch.zeros(2)})
    report = align(source("b", sd3()), [("m", model)]).models[0].report
    assert report.extra == 0 and report.coverage_frac == 1.0
    (part,) = report.parts
    assert (part.name, part.tensors, part.matched) == ("text_encoder.l", 1, 0)
    assert part.words == "the base has none, so it is not merged"


@pytest.mark.parametrize("there", ["weight", "scale"])
def test_norm_weight_and_scale_are_one_key(there):
    here = "scale" if there == "weight" else "weight"
    keys = ["blocks.0.attn.norm.query_norm", "layer.norms.3", "blocks.0.norm1"]
    other = {f"blocks.{i}.lin.weight": torch.randn(2, 2) for i in range(3)}
    base = MemorySource("b", {f"{k}.{here}": torch.randn(4) for k in keys} | other)
    changed = {f"{k}.{there}": torch.randn(4) for k in keys}
    model = MemorySource("m", changed | other)
    report = align(base, [("m", model)]).models[0].report
    assert report.coverage_frac == 1.0 and "fix_norm_names" in report.repairs
    off = align(base, [("m", model)], repairs=Repairs(fix_norm_names=False)).models[0].report
    assert off.matched == 3 and off.missing == 3 and off.extra == 3


def test_two_candidates_for_one_norm_are_never_guessed():
    other = {f"b.{i}.weight": torch.randn(2, 2) for i in range(3)}
    base = MemorySource("b", {"x.norm.gain": torch.ones(2), "y.norm.weight": torch.ones(2)} | other)
    both = {"y.norm.scale": torch.ones(2) * 2, "y.norm.weight": torch.ones(2) * 3}
    model = MemorySource("m", both | other)
    aligned = align(base, [("m", model)])
    assert torch.equal(aligned.models[0].read_raw("y.norm.weight", (2,)), both["y.norm.weight"])


def test_shape_mismatches_are_one_line():
    wrong = {k: torch.zeros(7, 7) for k in list(sd3())[:3]}
    report = align(source("b", sd3()), [("m", source("m", sd3(1) | wrong))]).models[0].report
    assert report.mismatched == 3 and report.matched == 48
    lines = [f for f in report.findings if "another shape" in f]
    assert lines == [
        "3 tensors have another shape than the base's: pos_embed is [7, 7], base has [1, 16, 8] "
        "(and 2 more); the base's are used."
    ]
    assert "3 of its 51 tensors are not usable here" in report.verdict


def test_transposed_is_not_the_same_shape_but_axes_of_one_are():
    base = MemorySource("b", {"l.0.w": torch.randn(2, 3), "l.1.w": torch.randn(4, 4)})
    tensors = {"l.0.w": torch.randn(3, 2), "l.1.w": torch.randn(4, 4, 1, 1)}
    model = align(base, [("m", MemorySource("m", tensors))]).models[0]
    assert model.report.mismatched == 1 and model.has("l.1.w") and not model.has("l.0.w")


def test_padding_of_block_quantisation_is_cut_off():
    keys = {"rows.weight": (30, 16), "both.weight": (20, 10), "plain.weight": (4, 4)}
    base = MemorySource("b", {k: torch.randn(s) for k, s in keys.items()})
    stored = {k: torch.randn(32, 16) for k in list(keys)[:2]} | {"plain.weight": torch.randn(4, 4)}
    quant = {"rows.weight": "nvfp4", "both.weight": "nvfp4"}
    model = align(base, [("m", MemorySource("m", stored, quant=quant))]).models[0]
    assert model.report.coverage_frac == 1.0
    assert model.report.quantisation == "nvfp4 (2 layers)" and "dequantise" in model.report.repairs
    for key in quant:
        rows, columns = keys[key]
        out = torch.empty(rows * columns)
        model.read_into(key, out)
        assert torch.equal(out.view(rows, columns), stored[key][:rows, :columns])
        part = torch.empty(7)
        model.read_into(key, part, start=columns + 3)
        assert torch.equal(part, out[columns + 3 : columns + 10])


def test_padding_is_cut_off_every_expert_of_a_bank():
    keys = {"rows.weight": (3, 30, 16), "both.weight": (3, 20, 10), "other.weight": (2, 20, 10)}
    base = MemorySource("b", {k: torch.randn(s) for k, s in keys.items()})
    stored = {k: torch.randn(3, 32, 16) for k in keys}
    quant = dict.fromkeys(keys, "nvfp4")
    model = align(base, [("m", MemorySource("m", stored, quant=quant))]).models[0]
    assert model.report.mismatched == 1 and not model.has("other.weight")
    for key in list(keys)[:2]:
        experts, rows, columns = keys[key]
        out = torch.empty(experts * rows * columns)
        model.read_into(key, out)
        assert torch.equal(out.view(keys[key]), stored[key][:, :rows, :columns])


def padded_base():
    stored = {"rows.weight": torch.randn(32, 16), "both.weight": torch.randn(32, 16)}
    quant = dict.fromkeys(stored, "nvfp4")
    return stored, MemorySource("b", stored | {"a.bias": torch.randn(4)}, quant=quant)


def test_a_padded_base_is_cut_to_what_its_fine_tunes_hold():
    stored, base = padded_base()
    plain = {k: torch.randn(s) for k, s in (("rows.weight", (30, 16)), ("both.weight", (20, 10)))}
    other = {k: torch.randn(s) for k, s in (("rows.weight", (7, 16)), ("both.weight", (9, 9)))}
    twin = MemorySource("t", stored, quant=dict.fromkeys(stored, "nvfp4"))
    models = [("m", MemorySource("m", plain)), ("o", MemorySource("o", other)), ("t", twin)]
    aligned = align(base, models)
    assert [m.name for m in aligned.models] == ["m", "t"] and aligned.skipped[0].name == "o"
    for key, tensor in plain.items():
        rows, columns = aligned.shapes[key]
        assert (rows, columns) == tuple(tensor.shape)
        for model in (aligned.base, aligned.models[1]):
            out = torch.empty(rows * columns)
            model.read_into(key, out)
            assert torch.equal(out.view(rows, columns), stored[key][:rows, :columns])


def test_a_padded_base_stays_where_its_fine_tunes_disagree():
    _, base = padded_base()
    bias = {"a.bias": torch.ones(4)}
    tuned = [{"rows.weight": torch.randn(rows, 16)} | bias for rows in (30, 31, 32)]
    models = [(str(i), MemorySource(str(i), tensors)) for i, tensors in enumerate(tuned)]
    assert align(base, models).shapes["rows.weight"] == (32, 16)


def test_only_block_formats_are_taken_for_padded():
    base = MemorySource("b", {"a.weight": torch.randn(30, 32), "b.weight": torch.randn(4, 4)})
    stored = {"a.weight": torch.randn(32, 32), "b.weight": torch.randn(4, 4)}
    model = MemorySource("m", stored, quant={"a.weight": "gguf_q8_0"})
    assert align(base, [("m", model)]).models[0].report.mismatched == 1


@pytest.mark.parametrize(
    "kept",
    [
        torch.arange(4),
        torch.tensor([True, False]),
        torch.randn(3, dtype=torch.complex64),
        torch.zeros(0),
        torch.zeros(3, dtype=torch.uint8),
    ],
)
def test_what_is_no_weight_is_carried_as_it_is(kept):
    base = source("b", sd3(), kept=kept)
    aligned = align(base, [("m", source("m", sd3(1), kept=kept + kept))])
    assert aligned.passthrough == ("kept",) and "kept" not in aligned.keys
    found = aligned.read_base_raw("kept")
    assert found.dtype == kept.dtype and torch.equal(found, kept)
    assert aligned.models[0].report.extra == 0


def test_integers_are_carried_from_the_base_and_never_weights():
    base = source("b", sd3(), position_ids=torch.arange(4))
    int_key = "joint_blocks.0.x_block.attn.proj.weight"
    model = source("m", sd3(1) | {int_key: torch.zeros(8, 8, dtype=torch.int8)})
    aligned = align(base, [("m", model)])
    assert aligned.passthrough == ("position_ids",)
    assert torch.equal(aligned.read_base_raw("position_ids"), torch.arange(4))
    report = aligned.models[0].report
    assert not aligned.models[0].has(int_key) and report.mismatched == 1
    assert "stored as I8" in " ".join(report.findings)


def unet(channels: int = 4):
    tensors = {"input_blocks.0.0.weight": torch.randn(8, channels, 3, 3)}
    for i in range(12):
        tensors[f"input_blocks.{i}.0.in_layers.0.weight"] = torch.randn(8)
    tensors["input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"] = torch.randn(8, 6)
    return tensors


def test_another_architecture_is_a_misfit_even_where_most_names_agree():
    def small(name):
        return {k: torch.randn(s) for k, s in shrunk(inventory(name), 512).items()}

    base, chroma = MemorySource("b", small("flux1-dev")), MemorySource("c", small("chroma"))
    (report,) = align(base, [("c", chroma)]).skipped
    assert report.coverage_frac > 0.7
    assert report.verdict == "other architecture: Chroma, base is Flux.1"
    forced = align(base, [("c", chroma)], "generic")
    assert [m.name for m in forced.models] == ["c"]


def test_inpaint_variant_is_named():
    base, model = MemorySource("b", unet()), MemorySource("m", unet(9))
    report = align(base, [("m", model)]).models[0].report
    assert report.verdict.startswith("inpaint variant: 9 input channels, base has 4; the first 4")
    back = align(model, [("m", base)]).models[0].report
    start = "standard model: 4 input channels, base is the inpaint variant with 9; they are merged"
    assert back.verdict.startswith(start)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (unet(), "other architecture: Stable Diffusion 1.5, base is Stable Diffusion 3 / 3.5"),
        (sd3(hidden=16), "other size of the same architecture: pos_embed is [1, 16, 16]"),
        (
            {"lora_unet_x.lora_up.weight": torch.zeros(2)},
            "a LoRA for another architecture: none of its 1 layers",
        ),
        ({"decoder.conv_in.weight": torch.zeros(2)}, "a VAE, not a diffusion model"),
        ({"text_model.encoder.layers.0.w": torch.zeros(2)}, "a text encoder, not a"),
        ({"control_model.input_blocks.0.0.weight": torch.zeros(2)}, "a ControlNet"),
        (
            {"context_embedder.token_refiner.proj_in.weight": torch.zeros(2)},
            "HunyuanImage in diffusers names, which are not translated",
        ),
        (
            {
                "cond_type_embed.weight": torch.zeros(3, 2),
                "x_embedder.proj.weight": torch.zeros(2, 2, 1, 1, 1),
                "context_embedder.token_refiner.refiner_blocks.0.norm1.weight": torch.zeros(2),
            },
            "HunyuanVideo 1.5 in diffusers names, which are not translated",
        ),
        (
            {k: t.to(torch.int8) for k, t in sd3().items()},
            "stored as I8 without scales, so that its numbers are not weights",
        ),
        ({"whatever": torch.zeros(2)}, "unknown architecture: it holds 0% of the base's"),
        ({}, "unknown architecture: it holds 0% of the base's"),
    ],
)
def test_a_misfit_is_skipped_and_explained(tensors, words):
    good = source("good", sd3(1))
    aligned = align(source("b", sd3()), [("bad", MemorySource("bad.st", tensors)), ("good", good)])
    assert [m.name for m in aligned.models] == ["good"]
    (report,) = aligned.skipped
    assert not report.ok and report.name == "bad" and report.file == "bad.st"
    assert report.verdict.startswith(words)


def test_a_gguf_misfit_is_named_by_its_header():
    bad = MemorySource(
        "t5.gguf", {"blk.0.q.weight": torch.zeros(2)}, {"general.architecture": "t5"}
    )
    (report,) = align(source("b", sd3()), [("bad", bad)]).skipped
    assert report.verdict == (
        "other architecture: t5 by its GGUF header, base is Stable Diffusion 3 / 3.5"
    )


def test_misfits_stop_everything_where_asked():
    bad = [("x", MemorySource("x", unet())), ("y", MemorySource("y", {"a": torch.zeros(1)}))]
    with pytest.raises(CompatibilityError) as error:
        align(source("b", sd3()), bad, repairs=Repairs(skip_misfits=False))
    assert str(error.value).startswith('2 of the models do not fit the base: "x" is other arch')
    assert str(error.value).endswith("switch skip_misfits on to go on without them.")


def test_a_base_without_weights_is_refused():
    with pytest.raises(CompatibilityError) as error:
        align(MemorySource("base.safetensors", {"n": torch.arange(3)}), [])
    assert str(error.value) == (
        'base "base.safetensors" holds no weights of a diffusion model: received 1 tensors, none '
        "of them a float weight. Choose a diffusion model or a checkpoint as the base."
    )


def test_names_are_unique_and_base_is_reserved():
    for names, reason in ((["a", "a"], "is used twice"), (["base"], "is reserved for the base")):
        models = [(n, source(n, sd3(i + 1))) for i, n in enumerate(names)]
        with pytest.raises(CompatibilityError, match=reason):
            align(source("b", sd3()), models)


def test_architecture_by_name():
    assert align(source("b", sd3()), [], "generic").architecture.name == "generic"
    with pytest.raises(CompatibilityError) as error:
        align(source("b", sd3()), [], "sd4")
    words = str(error.value)
    assert words.startswith('unknown architecture "sd4". Did you mean "sd')
    assert "Valid: auto, " in words and "generic" in words


def test_specs_carry_name_and_file():
    spec = ModelSpec("nice", "sub/file.safetensors")
    report = align(source("b", sd3()), [(spec, source("x", sd3(1)))]).models[0].report
    assert (report.name, report.file) == ("nice", "sub/file.safetensors")


REPORT = ModelReport("m", "m", "", "", "", 0, 0, 0, 0, 1.0, True, "")


@given(st.data())
def test_segments_read_as_one_tensor(data):
    sizes = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5))
    tensors = {str(i): torch.randn(n + 4) for i, n in enumerate(sizes)}
    runs = tuple(Segment(str(i), 2, 2 + n) for i, n in enumerate(sizes))
    model = AlignedModel("m", MemorySource("m", tensors), {"k": runs}, REPORT)
    whole = torch.cat([tensors[s.key][s.start : s.stop] for s in runs])
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    out = torch.full((stop - start,), float("nan"))
    model.read_into("k", out, start)
    assert torch.equal(out, whole[start:stop])
    assert torch.equal(model.read_raw("k", (len(whole),)), whole)


def test_a_quantised_base_must_be_read():
    layers = {"blocks.0.lin.weight": "quantised"}
    base = MemorySource("base.st", {"blocks.0.norm.scale": torch.ones(2)}, dropped=layers)
    with pytest.raises(CompatibilityError) as error:
        align(base, [])
    assert str(error.value) == (
        'base "base.st" is quantized and dequantise is switched off: received 1 layers that were '
        "not read. Switch dequantise on."
    )


def test_switched_off_dequantising_is_the_reason_given():
    model = MemorySource("m", {}, dropped={k: "quantised" for k in sd3() if k.endswith("weight")})
    (report,) = align(source("b", sd3()), [("m", model)]).skipped
    assert report.verdict.startswith("quantized: 25 of its layers were not read")
