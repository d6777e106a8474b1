"""Merging full checkpoints: layout, alphas of text encoders, VAE, prediction, refusals."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from orthomerge_core.errors import PlanError
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.keys.components import component_of, is_schedule
from orthomerge_core.recipe import codec
from tests.checkpoints import checkpoint
from tests.loras import change, lora, named

PREFIXES = {
    "sd15": {"cond_stage_model.": "text_encoder.l", "first_stage_model.": "vae"},
    "sdxl": {
        "conditioner.embedders.0.": "text_encoder.l",
        "conditioner.embedders.1.": "text_encoder.g",
        "first_stage_model.": "vae",
    },
}


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def family(request, tmp_path_factory):
    """A base and two fine-tunes on the disk: (architecture, folder, tensors by name)."""
    folder = tmp_path_factory.mktemp(request.param)
    models = {"base": checkpoint(request.param, factor=128)}
    for seed, name in enumerate(("a", "b"), 1):
        models[name] = checkpoint(request.param, seed, base=models["base"], factor=128)
    for name, tensors in models.items():
        save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
    return request.param, folder, models


def recipe_of(rows, names=("a", "b"), **fields):
    """A recipe as one writes it by hand: without a schema version."""
    body = {
        "base": "base.safetensors",
        "models": {name: {"file": f"{name}.safetensors"} for name in names},
        "rows": rows,
        "method": "task_arithmetic",
    }
    return codec.from_json(body | fields)


def merged(folder, recipe, name="out.safetensors", **options):
    """(report, tensors, metadata) of a merge that is written to the folder."""
    path = folder / name
    spec = spec_from_recipe(recipe, FolderResolver([folder]))
    with plan_merge(recipe, spec, target=path, overwrite=True, **options) as plan:
        report = run_merge(plan).report
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    return report, load_file(path), metadata


def component(architecture, key):
    for prefix, name in PREFIXES[architecture].items():
        if key.startswith(prefix):
            return name
    return "diffusion" if key.startswith("model.diffusion_model.") else "outside"


def order_of(path):
    """Keys by their place in the file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return header


def test_the_file_has_exactly_the_header_of_the_base(family):
    _, folder, models = family
    report, found, _ = merged(folder, recipe_of([{"model": "a", "alpha": 0.5}]))
    base, out = (order_of(folder / f"{n}.safetensors") for n in ("base", "out"))
    assert {k: (v["dtype"], v["shape"]) for k, v in out.items()} == {
        k: (v["dtype"], v["shape"]) for k, v in base.items()
    }
    assert list(out) == list(base)
    assert {k: t.dtype for k, t in found.items()} == {k: t.dtype for k, t in models["base"].items()}
    checked = verify_file(folder / "out.safetensors")
    assert checked.ok and checked.computed == report.content_hash


@pytest.mark.parametrize("text", [None, 0.2, 0.0, [0.3, 0.6]])
@pytest.mark.parametrize("vae", [None, "merge"])
def test_each_component_is_merged_with_its_own_alpha(family, text, vae):
    architecture, folder, models = family
    row = {"model": "a", "alpha": 0.5, "text": text}
    fields = {} if vae is None else {"vae": vae}
    report, found, _ = merged(folder, recipe_of([row], **fields))
    first, second = text if isinstance(text, list) else [0.5 if text is None else text] * 2
    alphas = {"diffusion": 0.5, "text_encoder.l": first, "text_encoder.g": second}
    alphas |= {"vae": 0.5 if vae else 0.0, "outside": 0.0}
    base = models["base"]
    for key, tensor in found.items():
        if is_schedule(key):
            assert torch.equal(tensor, base[key]), key
            continue
        alpha = alphas[component(architecture, key)]
        change = models["a"][key].double() - base[key].double()
        wanted = (base[key].double() + alpha * change).to(tensor.dtype)
        assert torch.allclose(tensor.double(), wanted.double(), rtol=2e-3, atol=1e-6), key
        if alpha == 0.0:
            assert torch.equal(tensor, base[key]), key
    for name, shares in report.retention_by_component.items():
        assert shares["a"] == pytest.approx(alphas[name], abs=1e-3), name
    assert report.retention["a"] == pytest.approx(0.5, abs=1e-3)


def test_totals_are_those_of_the_diffusion_model(family):
    _, folder, _ = family
    rows = [{"model": "a", "alpha": 0.5}]
    whole, _, _ = merged(folder, recipe_of(rows))
    alone, _, _ = merged(folder, recipe_of(rows, components="diffusion"))
    for name in ("retention", "leave_one_out", "delta_norm", "rounding_frac"):
        assert getattr(whole, name) == getattr(alone, name), name


def test_the_diffusion_model_of_a_checkpoint_is_the_same_alone(family):
    _, folder, _ = family
    rows = [{"model": "a", "alpha": 0.5}, {"model": "b", "alpha": 0.3}]
    _, whole, _ = merged(folder, recipe_of(rows))
    lead = "model.diffusion_model."
    for options in ({}, {"layout": "diffusion"}):
        fields = {} if options else {"components": "diffusion"}
        _, alone, _ = merged(folder, recipe_of(rows, **fields), **options)
        assert {f"{lead}{key}" for key in alone} == {k for k in whole if k.startswith(lead)}
        assert all(torch.equal(tensor, whole[lead + key]) for key, tensor in alone.items())


def test_a_recipe_from_before_components_gives_the_diffusion_model(family):
    _, folder, _ = family
    rows = [{"model": "a", "alpha": 0.5}]
    old, found, _ = merged(folder, recipe_of(rows, schema_version=1))
    new, _, _ = merged(folder, recipe_of(rows, components="diffusion"))
    assert old.content_hash == new.content_hash
    assert not any(component_of(k) != "diffusion" or k.startswith("model.") for k in found)


@pytest.mark.parametrize("method", ["orthomerge", "orthogonal_projection", "ties", "slerp"])
def test_every_kind_of_method_merges_all_components(family, method):
    _, folder, models = family
    rows = [{"model": "a", "alpha": 0.5}]
    _, found, _ = merged(folder, recipe_of(rows, method=method))
    for key in ("model.diffusion_model.out.2.weight", "first_stage_model.decoder.conv_in.weight"):
        kept = torch.equal(found[key], models["base"][key])
        assert kept == key.startswith("first_stage_model."), key
    encoder = next(k for k in found if k.endswith("mlp.fc1.weight"))
    assert not torch.equal(found[encoder], models["base"][encoder])


@pytest.mark.parametrize("form", ["model", "file", "checkpoint as a file", "prefixed file"])
def test_the_vae_is_taken_whole_from_a_model_or_a_file(family, form):
    _, folder, models = family
    lead = "first_stage_model."
    vae = {k: t for k, t in models["b"].items() if k.startswith(lead)}
    if form == "file":
        save_file({k.removeprefix(lead): t for k, t in vae.items()}, folder / "v.safetensors")
    elif form == "prefixed file":
        save_file(vae, folder / "v.safetensors")
    source = {"model": "b", "checkpoint as a file": "b.safetensors"}.get(form, "v.safetensors")
    _, found, metadata = merged(folder, recipe_of([{"model": "a"}], vae=source))
    assert all(torch.equal(found[key], tensor) for key, tensor in vae.items())
    told = codec.loads(metadata["orthomerge.recipe"])
    assert told.vae.source == source and (form == "model") == (told.vae.content_hash is None)


def test_a_vae_in_another_dtype_is_cast_to_the_bases(family):
    _, folder, models = family
    lead = "first_stage_model."
    vae = {k.removeprefix(lead): t.float() for k, t in models["b"].items() if k.startswith(lead)}
    save_file(vae, folder / "v32.safetensors")
    _, found, _ = merged(folder, recipe_of([{"model": "a"}], vae="v32.safetensors"))
    for key, tensor in vae.items():
        assert torch.equal(found[lead + key], tensor.half())


def test_other_vaes_are_refused(family):
    _, folder, _ = family
    save_file({"decoder.conv_in.weight": torch.zeros(3, 3)}, folder / "odd.safetensors")
    with pytest.raises(PlanError, match=r'"odd\.safetensors" does not hold a VAE like the base'):
        merged(folder, recipe_of([{"model": "a"}], vae="odd.safetensors"))
    with pytest.raises(PlanError, match=r'"gone\.safetensors" was not found'):
        merged(folder, recipe_of([{"model": "a"}], vae="gone.safetensors"))


def test_a_model_without_a_text_encoder_changes_nothing_there_and_is_said_to(family):
    architecture, folder, models = family
    lead = next(iter(PREFIXES[architecture]))
    bare = {k: t for k, t in models["a"].items() if not k.startswith(lead)}
    save_file(bare, folder / "bare.safetensors")
    report, found, _ = merged(folder, recipe_of([{"model": "bare"}], names=("bare",)))
    for key, tensor in found.items():
        if key.startswith(lead):
            assert torch.equal(tensor, models["base"][key])
    assert any("text encoder L" in note and "no change there" in note for note in report.notes)


def test_no_checkpoint_without_other_components(family):
    _, folder, models = family
    lead = "model.diffusion_model."
    for name in ("base", "a"):
        alone = {k.removeprefix(lead): t for k, t in models[name].items() if k.startswith(lead)}
        save_file(alone, folder / f"unet_{name}.safetensors")
    recipe = recipe_of([{"model": "unet_a"}], names=("unet_a",), base="unet_base.safetensors")
    with pytest.raises(PlanError, match="the base holds no text encoder and no VAE"):
        merged(folder, recipe, layout="checkpoint")
    with pytest.raises(PlanError, match='unknown layout "full"'):
        merged(folder, recipe, layout="full")
    _, found, _ = merged(folder, recipe)
    assert not any(key.startswith(lead) for key in found)


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ("IN12=0", "This model has the blocks IN00-"),
        ("text_encoder.x=0", "matches no tensor"),
        ("input_block.3=0", 'Did you mean "input_blocks.3"?'),
    ],
)
def test_layers_that_match_nothing_stop_the_merge(family, layers, says):
    _, folder, _ = family
    with pytest.raises(PlanError) as caught:
        merged(folder, recipe_of([{"model": "a", "layers": layers}]))
    assert str(caught.value).startswith('row of "a", layers: ') and says in str(caught.value)


def test_numbers_and_presets_are_stored_expanded(family):
    architecture, folder, models = family
    count = {"sd15": 26, "sdxl": 20}[architecture]
    numbers = ",".join(["0"] + ["0.5"] * (count - 1))
    rows = [{"model": "a", "layers": numbers}, {"model": "b", "layers": "grad_v", "text": 0}]
    _, found, metadata = merged(folder, recipe_of(rows))
    told = [row.layers for row in codec.loads(metadata["orthomerge.recipe"]).rows]
    last = {"sd15": "OUT11", "sdxl": "OUT08"}[architecture]
    assert told[0].startswith("BASE=0, IN00=0.5, ") and told[0].endswith(f"{last}=0.5")
    assert told[1].startswith("IN00=1, ") and told[1].endswith(f"{last}=1")
    encoder = next(k for k in found if k.endswith("mlp.fc1.weight"))
    assert torch.equal(found[encoder], models["base"][encoder])
    _, same, _ = merged(folder, codec.loads(metadata["orthomerge.recipe"]))
    assert all(torch.equal(tensor, same[key]) for key, tensor in found.items())


def test_numbers_of_sd15_are_refused_for_sdxl(noob):
    row = {"model": "m", "layers": ",".join(["0.5"] * 26)}
    fields = {"models": {"m": {"file": "base.safetensors"}}}
    with pytest.raises(PlanError, match="has the blocks IN00-08, M00 and OUT00-08"):
        merged(noob, recipe_of([row], **fields))


def test_block_names_reach_the_tensors(family):
    architecture, folder, models = family
    last = 11 if architecture == "sd15" else 8
    layers = f"BASE=0, OUT{last:02d}=0, IN00=0, default=1"
    _, found, _ = merged(folder, recipe_of([{"model": "a", "layers": layers}]))
    lead = "model.diffusion_model."
    quiet = (f"{lead}output_blocks.{last}.", f"{lead}out.", f"{lead}input_blocks.0.")
    quiet += (f"{lead}time_embed.", f"{lead}label_emb.", *PREFIXES[architecture])
    for key, tensor in found.items():
        same = torch.equal(tensor, models["base"][key])
        assert same == (key.startswith(quiet) or is_schedule(key)), key


def test_a_lora_with_a_text_encoder_is_a_row(family):
    architecture, folder, models = family
    name = "lora_te_" if architecture == "sd15" else "lora_te1_"
    encoder = next(k for k in models["base"] if k.endswith("layers.3.mlp.fc1.weight"))
    unet = "model.diffusion_model.middle_block.1.proj_in.weight"
    factors = {encoder: lora(tuple(models["base"][encoder].shape), 1)}
    factors[unet] = lora(tuple(models["base"][unet].shape), 2)
    tensors = named(f"{name}text_model_encoder_layers_3_mlp_fc1", factors[encoder])
    tensors |= named("lora_unet_middle_block_1_proj_in", factors[unet])
    save_file(tensors, folder / "style.safetensors")
    row = {"model": "style", "alpha": 0.8, "text": 0.4}
    report, found, metadata = merged(folder, recipe_of([row], names=("style",)))
    for key, tensor in found.items():
        base = models["base"][key]
        if key not in factors:
            assert torch.equal(tensor, base), key
            continue
        alpha = 0.8 if key == unet else 0.4
        wanted = (base.double() + alpha * change(factors[key], tuple(base.shape))).half()
        assert torch.allclose(tensor.float(), wanted.float(), rtol=2e-3, atol=1e-6)
    assert report.retention_by_component["text_encoder.l"]["style"] == pytest.approx(0.4, abs=1e-3)
    told = codec.loads(metadata["orthomerge.recipe"])
    assert told.models["style"].content_hash == report.source_hashes["style"]


MARKS = {"epsilon": (), "v": ("v_pred",), "v+ztsnr": ("v_pred", "ztsnr")}


@pytest.fixture(scope="module")
def noob(tmp_path_factory):
    """An SDXL base that predicts epsilon, and a fine-tune that predicts v, with ztsnr."""
    folder = tmp_path_factory.mktemp("noob")
    base = checkpoint("sdxl", factor=128)
    save_file(base, folder / "base.safetensors", metadata={"modelspec.predict_key": "epsilon"})
    tuned = checkpoint("sdxl", 1, base=base, factor=128) | {
        n: torch.zeros(0) for n in MARKS["v+ztsnr"]
    }
    save_file(tuned, folder / "noob.safetensors")
    return folder


def marks(tensors):
    return tuple(sorted({"v_pred", "ztsnr"} & tensors.keys()))


@pytest.mark.parametrize("base", ["base", "noob"])
def test_models_that_predict_differently_need_a_choice(noob, base):
    other = {"base": "noob", "noob": "base"}[base]
    rows = [{"model": "m", "alpha": 0.5}]
    fields = {
        "base": f"{base}.safetensors",
        "models": {"m": {"file": f"{other}.safetensors"}},
    }
    with pytest.raises(PlanError) as caught:
        merged(noob, recipe_of(rows, **fields))
    words = {"base": "epsilon", "noob": "v+ztsnr"}
    assert str(caught.value).startswith(
        f"the models do not predict the same (base: {words[base]}, m: {words[other]}). Choose"
    )
    for choice, expected in (
        ("base", MARKS[words[base]]),
        ("m", MARKS[words[other]]),
        *MARKS.items(),
    ):
        _, found, metadata = merged(noob, recipe_of(rows, prediction=choice, **fields))
        assert marks(found) == expected, choice
        assert metadata["modelspec.predict_key"] == ("v" if expected else "epsilon")


def test_a_lora_decides_no_prediction(noob):
    """It has no markers, and its base may predict v: chosen, it means the base's prediction."""
    key = "model.diffusion_model.middle_block.1.proj_in.weight"
    shape = tuple(load_file(noob / "noob.safetensors")[key].shape)
    save_file(named("lora_unet_middle_block_1_proj_in", lora(shape)), noob / "style.safetensors")
    fields = {"base": "noob.safetensors", "prediction": "style"}
    _, found, metadata = merged(noob, recipe_of([{"model": "style"}], names=("style",), **fields))
    assert marks(found) == MARKS["v+ztsnr"]
    assert metadata["modelspec.predict_key"] == "v"


def test_the_prediction_of_sd15_cannot_be_asked_for(tmp_path):
    for name, tensors in {"base": checkpoint("sd15"), "a": checkpoint("sd15", 1)}.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
    with pytest.raises(PlanError, match='prediction "v" cannot be asked for'):
        merged(tmp_path, recipe_of([{"model": "a"}], prediction="v"))


def test_nothing_but_the_vae_changes_without_rows(family):
    _, folder, models = family
    lead = "first_stage_model."
    vae = {k.removeprefix(lead): t for k, t in models["b"].items() if k.startswith(lead)}
    save_file(vae, folder / "alone.safetensors")
    _, found, _ = merged(folder, recipe_of([], vae="alone.safetensors"))
    for key, tensor in found.items():
        wanted = models["b" if key.startswith(lead) else "base"][key]
        assert torch.equal(tensor, wanted), key
