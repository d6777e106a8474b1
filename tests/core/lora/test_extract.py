"""Extracted LoRAs, read back by our own reader and compared with the change itself."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from orthomerge_core.api import merge
from orthomerge_core.cli.app import run
from orthomerge_core.errors import OrthoMergeError, WriteError
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.linalg.low_rank import RankRule
from orthomerge_core.lora.extract import extract_lora
from orthomerge_core.recipe.codec import loads

SHAPES = {
    "blocks.0.attn.weight": (48, 40),
    "blocks.0.attn.bias": (48,),
    "blocks.1.conv.weight": (24, 20, 3, 3),
    "blocks.1.scale": (24,),
    "blocks.2.tiny.weight": (3, 4),
    "blocks.2.same.weight": (30, 30),
}
LAYERED = ("blocks.0.attn.weight", "blocks.1.conv.weight")


def family(folder, rank=4):
    """A base, and a model whose matrices differ from it by changes of that rank."""
    g = torch.Generator().manual_seed(3)
    base = {k: torch.randn(s, generator=g) for k, s in SHAPES.items()}
    model = {}
    for key, weight in base.items():
        flat = weight.reshape(len(weight), -1)
        up = torch.randn(flat.shape[0], rank, generator=g)
        down = torch.randn(rank, flat.shape[1], generator=g)
        change = 0.0 if "same" in key else (0.01 * up @ down).reshape(weight.shape)
        model[key] = weight + change
    save_file(base, folder / "base.safetensors")
    save_file(model, folder / "model.safetensors")
    return base, model


def extract(folder, rule, name="lora.safetensors", **options):
    spec = spec_from_paths(folder / "base.safetensors", [folder / "model.safetensors"])
    with open_set(spec) as aligned:
        return extract_lora(aligned, "model", folder / name, rule, **options)


def changes(folder, name):
    """What our reader makes of the LoRA over its base: key → W."""
    with open_set(spec_from_paths(folder / "base.safetensors", [folder / name])) as aligned:
        (lora,) = aligned.models
        found = {}
        for key in aligned.keys:
            found[key] = torch.empty(aligned.numel(key))
            (lora if lora.has(key) else aligned.base).read_into(key, found[key])
            found[key] = found[key].reshape(aligned.shapes[key])
        return found


@pytest.mark.parametrize("naming", ["kohya", "comfyui"])
def test_a_change_of_low_rank_comes_back(tmp_path, naming):
    _, model = family(tmp_path)
    report = extract(tmp_path, RankRule("energy", 0.999999), dtype="fp32", naming=naming)
    assert {x.key: x.rank for x in report.layers if x.rank} == dict.fromkeys(LAYERED, 4)
    assert report.kept > 0.99999 and report.left_out == {}
    read = changes(tmp_path, "lora.safetensors")
    for key, weight in model.items():
        torch.testing.assert_close(read[key], weight, rtol=0, atol=1e-5)


def test_what_is_kept_is_measured_after_rounding(tmp_path):
    base, model = family(tmp_path, rank=12)
    kept = []
    for rank in (1, 3, 6, 12):
        name = f"lora{rank}.safetensors"
        report = extract(tmp_path, RankRule("fixed", rank), name, dtype="bf16")
        read = changes(tmp_path, name)
        for layer in report.layers:
            delta = (model[layer.key] - base[layer.key]).double()
            error = (read[layer.key] - model[layer.key]).double()
            oracle = 1 - float(error.square().sum() / delta.square().sum())
            assert layer.kept == pytest.approx(oracle, abs=1e-4)
            assert layer.energy == pytest.approx(float(delta.square().sum()), rel=1e-5)
        kept.append(report.kept)
    assert kept == sorted(kept) and kept[0] < 0.5 < 0.999 < kept[-1]


def test_the_form_of_every_tensor(tmp_path):
    family(tmp_path)
    extract(tmp_path, RankRule("fixed", 4))
    stored = load_file(tmp_path / "lora.safetensors")
    shapes = {k: (tuple(t.shape), t.dtype) for k, t in stored.items() if not k.endswith("alpha")}
    half = torch.float16
    assert shapes == {
        "lora_unet_blocks_0_attn.lora_up.weight": ((48, 4), half),
        "lora_unet_blocks_0_attn.lora_down.weight": ((4, 40), half),
        "lora_unet_blocks_0_attn.diff_b": ((48,), half),
        "lora_unet_blocks_1_conv.lora_up.weight": ((24, 4, 1, 1), half),
        "lora_unet_blocks_1_conv.lora_down.weight": ((4, 20, 3, 3), half),
        "diffusion_model.blocks.1.scale.diff": ((24,), half),
        "lora_unet_blocks_2_tiny.diff": ((3, 4), half),
    }
    assert float(stored["lora_unet_blocks_0_attn.alpha"]) == 4.0
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        told = file.metadata()
    assert told["ss_network_dim"] == "4" and "rank 4" in told["orthomerge.lora"]
    assert str(tmp_path) not in json.dumps(told)


def test_the_same_files_give_the_same_bytes(tmp_path):
    family(tmp_path)
    for name in ("a.safetensors", "b.safetensors"):
        extract(tmp_path, RankRule("knee"), name)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_models_that_do_not_differ(tmp_path):
    base, _ = family(tmp_path)
    save_file(base, tmp_path / "model.safetensors", {"copy": "yes"})
    with pytest.raises(OrthoMergeError, match='"model" does not differ from "base"'):
        extract(tmp_path, RankRule("fixed", 4))
    assert not (tmp_path / "lora.safetensors").exists()


def test_a_change_that_is_not_finite(tmp_path):
    _, model = family(tmp_path)
    model["blocks.0.attn.weight"][3, 3] = torch.nan
    save_file(model, tmp_path / "model.safetensors")
    with pytest.raises(
        OrthoMergeError, match=r'the change of "blocks.0.attn.weight" is not finite'
    ):
        extract(tmp_path, RankRule("fixed", 4))
    assert not (tmp_path / "lora.safetensors").exists()


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    family(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            run(["extract-lora", *arguments])
        return left.value.code, *capsys.readouterr()

    return call


FILES = ("base.safetensors", "model.safetensors", "-o", "out.safetensors")


def test_the_command_reports_what_is_kept(shell):
    code, out, _ = shell(*FILES, "--rank", "2")
    assert code == 0
    assert "2 layers of rank 2 to 2, 3 tensors stored whole." in out
    assert "% of the change's energy" in out and "blocks.1.conv.weight: " in out
    assert shell(*FILES)[0] == 1  # never overwritten unless asked
    code, out, _ = shell(*FILES, "--energy", "0.9", "--overwrite", "--json")
    assert code == 0 and json.loads(out)["kept"] > 0.9


def test_wrong_usage_of_the_command(shell):
    code, _, err = shell(*FILES, "--rank", "2", "--knee")
    assert code == 2 and "Choose one of --rank, --energy, --ratio and --knee." in err
    code, _, err = shell("base.safetensors", "gone.safetensors", "-o", "out.safetensors")
    assert code == 1 and "gone.safetensors" in err


def test_finished_layers_do_not_stay_in_memory(tmp_path):
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak of resident memory is reset through /proc")
    own = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.core.lora.extract_memory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own, check=True)
    held, size = map(int, done.stdout.split())
    assert size > 45 << 20
    assert held < size / 2


def test_nothing_is_left_behind_and_an_existing_file_is_refused_at_once(tmp_path, monkeypatch):
    family(tmp_path)
    extract(tmp_path, RankRule("fixed", 4))
    before = sorted(p.name for p in tmp_path.iterdir())
    monkeypatch.setattr("orthomerge_core.lora.extract._change", None)  # nothing is read any more
    with pytest.raises(WriteError, match=r'"lora\.safetensors" exists already'):
        extract(tmp_path, RankRule("fixed", 4))
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    with pytest.raises(WriteError, match="cannot be written"):
        extract(tmp_path, RankRule("fixed", 4), "no_folder/lora.safetensors")


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
def test_a_lora_that_went_in_as_a_row_comes_out_equal_up_to_rounding(tmp_path, dtype):
    """LoRA → row of a merge → merged file → LoRA: the same change, and no higher rank."""
    base, _ = family(tmp_path)
    extract(tmp_path, RankRule("fixed", 4), "in.safetensors", dtype="fp32")
    recipe = {
        "base": "base.safetensors",
        "models": {"in": {"file": "in.safetensors"}},
        "rows": [{"model": "in"}],
        "method": "task_arithmetic",
    }
    merge(loads(json.dumps(recipe)), tmp_path / "merged.safetensors", folders=[tmp_path])
    spec = spec_from_paths(tmp_path / "base.safetensors", [tmp_path / "merged.safetensors"])
    with open_set(spec) as aligned:
        out = tmp_path / "out.safetensors"
        report = extract_lora(aligned, "merged", out, RankRule("energy", 0.99999), dtype=dtype)
    assert {x.key: x.rank for x in report.layers if x.rank} == dict.fromkeys(LAYERED, 4)
    went, came = changes(tmp_path, "in.safetensors"), changes(tmp_path, "out.safetensors")
    step = {"fp16": 1e-3, "bf16": 8e-3, "fp32": 1e-5}[dtype]
    for key, weight in base.items():
        change = went[key] - weight
        assert float((came[key] - went[key]).norm()) <= step * float(change.norm()) + 1e-6, key
