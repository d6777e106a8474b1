"""Fixed copies: complete, canonical, in the stored dtypes, whole or absent."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from orthomerge_core.errors import CompatibilityError, FileChangedError, WriteError
from orthomerge_core.keys.align import align
from orthomerge_core.keys.copies import write_copies
from tests.checkpoints import checkpoint
from tests.fakes import MemorySource


def tensors(seed: int = 0, dtype=torch.bfloat16):
    generator = torch.Generator().manual_seed(seed)
    names = [f"blocks.{i}.{part}" for i in range(3) for part in ("lin.weight", "norm.scale")]
    shapes = [(4, 6), (5,)] * 3
    return {
        k: torch.randn(s, generator=generator).to(dtype) for k, s in zip(names, shapes, strict=True)
    } | {"ids": torch.arange(4)}


@pytest.fixture
def aligned():
    fixed = {f"model.diffusion_model.{k}": v for k, v in tensors(1).items()}
    fixed |= {"first_stage_model.decoder.x": torch.zeros(3)}
    part = {k: v for k, v in tensors(2, torch.float64).items() if "blocks.2" not in k}
    part["blocks.0.lin.weight"] = torch.zeros(1, 2)
    quant = {k.replace("scale", "weight"): v.float() for k, v in tensors(3).items()}
    schemes = {k: "scaled_fp8" for k in quant if "lin" in k}
    metadata = {"author": "someone", "_quantization_metadata": "{}", "orthomerge.hash": "old"}
    models = [
        ("fixed", MemorySource("fixed.safetensors", fixed, metadata)),
        ("sub/part", MemorySource("part.safetensors", part)),
        ("quant", MemorySource("quant.safetensors", quant, quant=schemes)),
    ]
    return align(MemorySource("base.safetensors", tensors()), models)


def test_a_copy_has_canonical_names_and_the_stored_bytes(aligned, tmp_path):
    (path,) = write_copies(aligned, tmp_path, ["fixed"])
    assert path.name == "fixed_fixed.safetensors"
    found = load_file(path)
    assert set(found) == set(tensors())
    for key, tensor in tensors(1).items():
        assert found[key].dtype == tensor.dtype and torch.equal(found[key], tensor)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["author"] == "someone" and set(metadata) == {
        "author",
        "format",
        "orthomerge.fixed_from",
    }
    told = json.loads(metadata["orthomerge.fixed_from"])
    assert told == {"file": "fixed.safetensors", "repairs": ["fix_prefixes"]}


def test_gaps_come_from_the_base_and_float64_stays_exact(aligned, tmp_path):
    (path,) = write_copies(aligned, tmp_path, ["sub/part"])
    assert path.name == "sub_part_fixed.safetensors"
    found = load_file(path)
    base, part = tensors(), tensors(2, torch.float64)
    for key in ("blocks.2.lin.weight", "blocks.2.norm.scale", "blocks.0.lin.weight", "ids"):
        assert torch.equal(found[key], base[key])
    assert torch.equal(found["blocks.1.lin.weight"], part["blocks.1.lin.weight"])
    assert found["blocks.1.norm.scale"].dtype == torch.float64


def test_dequantised_layers_become_bf16(aligned, tmp_path):
    (path,) = write_copies(aligned, tmp_path, ["quant"])
    found = load_file(path)
    assert found["blocks.0.lin.weight"].dtype == torch.bfloat16
    assert torch.equal(found["blocks.0.lin.weight"], tensors(3)["blocks.0.lin.weight"])
    assert found["blocks.0.norm.scale"].dtype == torch.float32


def test_all_by_default_and_never_over_a_file(aligned, tmp_path):
    assert len(write_copies(aligned, tmp_path)) == 3
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(WriteError, match=r"fixed_fixed\.safetensors"):
        write_copies(aligned, tmp_path)
    write_copies(aligned, tmp_path, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_nothing_is_left_when_the_source_changes(aligned, tmp_path):
    aligned.model("fixed").source.changed = True
    with pytest.raises(FileChangedError):
        write_copies(aligned, tmp_path, ["fixed"])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_named(aligned, tmp_path):
    with pytest.raises(CompatibilityError) as error:
        write_copies(aligned, tmp_path, ["fixd"])
    assert str(error.value) == (
        'no model "fixd" in the set. Did you mean "fixed"? Valid: fixed, sub/part, quant.'
    )


def test_two_names_for_one_file_are_refused(tmp_path):
    models = [(n, MemorySource(n, tensors(i))) for i, n in enumerate(["a/b", "a:b"])]
    aligned = align(MemorySource("base", tensors(9)), models)
    with pytest.raises(CompatibilityError, match='two copies would be called "a_b_fixed'):
        write_copies(aligned, tmp_path)


@pytest.mark.parametrize("other", ["base", "model"])
def test_a_copy_of_a_checkpoint_keeps_its_layout_and_its_own_markers(tmp_path, other):
    base = checkpoint("sdxl", factor=128)
    model = checkpoint("sdxl", 1, base=base, factor=128)
    marked = base if other == "base" else model
    marked |= {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    lone = {k: t for k, t in model.items() if not k.startswith("conditioner.embedders.1.")}
    source = MemorySource("m.safetensors", lone)
    with align(MemorySource("b.safetensors", base), [("m", source)]) as aligned:
        (path,) = write_copies(aligned, tmp_path)
    found = load_file(path)
    assert set(found) == (set(base) | set(model)) - (
        {"v_pred", "ztsnr"} if other == "base" else set()
    )
    for key, tensor in found.items():
        giver = lone if key in lone else base
        assert tensor.dtype == giver[key].dtype and torch.equal(tensor, giver[key]), key
