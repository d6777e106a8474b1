"""What other programs write: the same checkpoint as trainers, hubs and converters save it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from orthomerge_core import api
from orthomerge_core.errors import PlanError
from orthomerge_core.keys.align import align
from orthomerge_core.keys.components import VAE
from orthomerge_core.recipe import codec
from tests.checkpoints import checkpoint
from tests.fakes import MemorySource
from tests.loras import lora, named

UNET = "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
STORED = "model.diffusion_model." + UNET
RECIPE = {"base": "base.safetensors", "models": {"t": {"file": "t.safetensors"}}}
RECIPE |= {"rows": [{"model": "t"}], "method": "task_arithmetic"}


@pytest.fixture(scope="module")
def pair():
    base = checkpoint("sd15", factor=128)
    return base, checkpoint("sd15", 1, base=base, factor=128)


def aligned(base, tuned):
    return align(MemorySource("base", base), [("t", MemorySource("t", tuned))])


@pytest.mark.parametrize("prefix", ["module.", "state_dict.", "_orig_mod.", "model_state."])
def test_a_wrapper_around_a_whole_checkpoint_takes_no_component_away(pair, prefix):
    base, tuned = pair
    wrapped = {prefix + key: value for key, value in tuned.items()} | {"epoch": torch.tensor(3)}
    for a, b in ((base, wrapped), (wrapped, base)):
        found = aligned(a, b)
        (model,) = found.models
        assert model.report.coverage_frac == 1.0 and found.keys_of(VAE)
        assert all(model.has(key) for key in found.keys)


def test_a_wrapped_base_gets_its_own_names_back(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base, tuned = pair
    save_file({"module." + key: value for key, value in base.items()}, "base.safetensors")
    save_file(tuned, "t.safetensors")
    api.merge(codec.from_json(RECIPE), "out.safetensors")
    out = load_file("out.safetensors")
    assert set(out) == {"module." + key for key in base}
    for key in (STORED, next(k for k in base if k.startswith("first_stage") and "weight" in k)):
        alike = base if key.startswith("first_stage") else tuned  # the VAE stays the base's
        torch.testing.assert_close(
            out["module." + key].float(), alike[key].float(), rtol=2e-3, atol=0
        )


@pytest.mark.parametrize("counter", ["global_step", "optimizer.state.0", "lr_scheduler"])
def test_what_trainers_keep_beside_the_weights_is_not_merged(pair, counter):
    base, tuned = pair
    found = aligned(base, tuned | {counter: torch.ones(3)})
    assert counter not in found.keys and found.models[0].report.coverage_frac == 1.0


def test_position_ids_keep_the_bases_dtype_whatever_the_models_have(pair):
    base, tuned = pair
    ids = next(key for key in base if key.endswith("position_ids"))
    for stored in (torch.float16, torch.int32):
        found = aligned(base, tuned | {ids: tuned[ids].to(stored)})
        assert found.models[0].report.coverage_frac == 1.0
        assert not any(key.endswith("position_ids") for key in found.keys)


def test_only_a_unet_or_only_bare_names_change_only_the_unet(pair):
    base, tuned = pair
    unet = {k: v for k, v in tuned.items() if k.startswith("model.diffusion_model.")}
    bare = {k.removeprefix("model.diffusion_model."): v for k, v in unet.items()}
    for given in (unet, bare):
        (model,) = aligned(base, given).models
        assert model.has(UNET) and not any(key.startswith("vae.") for key in model.segments)


def test_a_lora_lacks_nothing_that_it_does_not_change(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base, _ = pair
    factors = lora(tuple(base[STORED].shape))
    kohya = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {k: v.reshape(1) if v.ndim == 0 else v for k, v in named(kohya, factors).items()}
    save_file(base, "base.safetensors")
    save_file(tensors, "t.safetensors")  # alpha as a list of one, as some trainers write it
    report = api.merge(codec.from_json(RECIPE), "out.safetensors")
    assert report.keys["merged"] == 1
    assert not any("lacks" in str(note) for note in report.notes)


def with_header(tensors, change, pad=8):
    """The bytes of a file whose header was changed, padded to a multiple of `pad`."""
    raw = save(tensors)
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.dumps(change(json.loads(raw[8 : 8 + size]))).encode()
    header += b" " * (-len(header) % pad)
    return struct.pack("<Q", len(header)) + header + raw[8 + size :]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A base of a few tensors in the current folder, and a fine-tune of it."""
    monkeypatch.chdir(tmp_path)
    draw = torch.Generator().manual_seed(0)
    base = {f"blocks.{i}.w.weight": torch.randn(8, 8, generator=draw) for i in range(3)}
    save_file(base, "base.safetensors")
    return {key: value + 0.1 for key, value in base.items()}


def test_a_header_of_any_length_is_read(small):
    Path("t.safetensors").write_bytes(with_header(small, dict, pad=1))
    api.merge(codec.from_json(RECIPE), "out.safetensors")
    out = load_file("out.safetensors")
    torch.testing.assert_close(out["blocks.0.w.weight"], small["blocks.0.w.weight"])


def test_metadata_that_is_no_text_is_refused_by_name(small):
    broken = with_header(small, lambda h: h | {"__metadata__": {"steps": 12000}})
    Path("t.safetensors").write_bytes(broken)
    words = r'the metadata of "t\.safetensors" is not a map of strings'
    with pytest.raises(PlanError, match=words):
        api.merge(codec.from_json(RECIPE), "out.safetensors")


def test_megabytes_of_training_notes_stay_behind(small):
    save_file(small, "t.safetensors", {"ss_tag_frequency": "x" * 2_000_000, "ss_path": "C:\\me"})
    api.merge(codec.from_json(RECIPE), "out.safetensors")
    with safe_open("out.safetensors", "pt") as file:
        told = file.metadata()
    assert not any(key.startswith("ss_") for key in told) and sum(map(len, told.values())) < 9000


@pytest.mark.parametrize(
    "name", ["T.SAFETENSORS", "mödel (1) 100%.safetensors", "hub/snapshot.safetensors"]
)
def test_names_of_hubs_and_browsers(small, name):
    Path("hub").mkdir()
    save_file(small, "blob")  # what a hub's cache links to has no suffix
    Path(name).symlink_to(Path("blob").absolute())
    recipe = RECIPE | {"models": {"t": {"file": name}}}
    assert api.merge(codec.from_json(recipe), "out.safetensors").keys["merged"] == 3


def test_a_recipe_from_windows(small):
    save_file(small, "t.safetensors")
    text = json.dumps(RECIPE, indent=1).replace("\n", "\r\n")
    Path("r.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert api.merge("r.json", "out.safetensors").keys["merged"] == 3


def test_float64_and_empty_tensors(small):
    doubles = {key: value.double() for key, value in small.items()}
    save_file(doubles | {"blocks.0.none": torch.zeros(0, 4)}, "t.safetensors")
    api.merge(codec.from_json(RECIPE), "out.safetensors")
    out = load_file("out.safetensors")
    assert {value.dtype for value in out.values()} == {torch.float32}
    torch.testing.assert_close(out["blocks.1.w.weight"], small["blocks.1.w.weight"])
