"""Diffusers names against recorded tables: the same elements in the same places.

The tables hold what ComfyUI's and diffusers' own converters do with every key, at real size.
"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.io.opening import open_source
from orthomerge_core.keys.align import align
from orthomerge_core.keys.detect import get_architecture
from orthomerge_core.keys.remap import remap, whole
from orthomerge_core.keys.setspec import Repairs
from tests.fakes import MemorySource
from tests.inventories import diffusers_names, inventory, shrunk
from tests.quantized import marker

# table → (inventory, architecture, canonical keys that diffusers does not have)
TABLES = {
    "diffusers-sd15": ("sd15", "sd15", set()),
    "diffusers-sdxl": ("sdxl", "sdxl", set()),
    "diffusers-sd35-medium": ("sd35-medium", "sd3", set()),
    "diffusers-flux1": ("flux1-dev", "flux1", set()),
    "diffusers-z-image": ("z-image", "z_image", {"norm_final.weight"}),
    "diffusers-auraflow": ("auraflow", "auraflow", set()),
    "diffusers-lumina2": ("lumina2", "lumina2", {"norm_final.weight"}),
    "diffusers-chroma": ("chroma", "chroma", set()),
    "diffusers-flux2-klein-4b": ("flux2-klein-4b", "flux2", set()),
    "diffusers-wan-i2v-14b": ("wan-i2v-14b", "wan", set()),
    "diffusers-wan-vace-1b": ("wan-vace-1b", "wan", set()),
    "diffusers-hunyuan-video": ("hunyuan-video", "hunyuan_video", set()),
}
FACTOR = 64


def canonical_tensors(name: str) -> dict[str, torch.Tensor]:
    shapes = shrunk(inventory(name), FACTOR)
    generator = torch.Generator().manual_seed(5)
    return {k: torch.randn(s, generator=generator).half() for k, s in shapes.items()}


def in_diffusers_names(table: str, tensors):
    """The tensors cut up and named as the table says: the oracle, written the other way round."""
    result = {}
    for key, (name, start, rows, swapped) in diffusers_names(table).items():
        if name not in tensors or key.startswith("class_embedding."):  # an older spelling
            continue
        tensor = tensors[name]
        if rows is not None:
            tensor = tensor[start // FACTOR : (start + rows) // FACTOR]
        if swapped:
            first, second = tensor.chunk(2)
            tensor = torch.cat([second, first])
        result[key] = tensor
    return result


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_diffusers_models_read_as_the_original(table, prefix):
    inventory_name, architecture, absent = TABLES[table]
    tensors = canonical_tensors(inventory_name)
    other = in_diffusers_names(table, tensors)
    base = MemorySource("b", tensors)
    model = MemorySource("m", {prefix + k: v for k, v in other.items()})
    aligned = align(base, [("m", model)], find_duplicates=False)
    assert aligned.architecture.name == architecture
    found = aligned.models[0]
    assert set(aligned.keys) - set(found.segments) == absent
    said = any("Of the diffusers names: " in line for line in found.report.findings)
    assert said == bool(absent and aligned.architecture.diffusers.note)
    assert found.report.extra == 0 and "remap_diffusers" in found.report.repairs
    assert found.report.architecture == aligned.architecture.label
    for key in found.segments:
        flat = torch.empty(tensors[key].numel())
        found.read_into(key, flat)
        assert torch.equal(flat.view(tensors[key].shape), tensors[key].float()), key
        assert torch.equal(found.read_raw(key, tensors[key].shape), tensors[key]), key


def test_quantised_parts_of_a_join_keep_their_own_scales(tmp_path):
    """q, k and v, each with its scales: names and numbers are two layers of reading."""
    tensors = canonical_tensors("z-image")
    stored, expected = {}, {}
    for key, tensor in in_diffusers_names("diffusers-z-image", tensors).items():
        stored[key] = tensor.clone()
        if ".attention.to_" in key and tensor.ndim == 2:
            scale = tensor.abs().amax(1, keepdim=True).float() / 127
            whole = (tensor.float() / scale).round().to(torch.int8)
            layer = key.removesuffix(".weight")
            stored |= {key: whole, f"{layer}.weight_scale": scale}
            stored[f"{layer}.comfy_quant"] = marker(format="int8_tensorwise")
            expected[key] = whole.float() * scale
    save_file(stored, tmp_path / "m.safetensors")
    with open_source(tmp_path / "m.safetensors") as source:
        (model,) = align(MemorySource("b", tensors), [("m", source)]).models
        assert model.report.extra == 0 and model.report.repairs == ("remap_diffusers", "dequantise")
        for block in ("layers.3", "context_refiner.1"):
            key = f"{block}.attention.qkv.weight"
            parts = [expected[f"{block}.attention.to_{x}.weight"] for x in "qkv"]
            assert torch.equal(model.read_raw(key, tensors[key].shape), torch.cat(parts))


def test_a_diffusers_base_gets_canonical_names():
    tensors = canonical_tensors("flux1-dev")
    base = MemorySource("b", in_diffusers_names("diffusers-flux1", tensors))
    aligned = align(base, [("m", MemorySource("m", tensors))])
    assert set(aligned.keys) == set(tensors)
    assert aligned.models[0].report.coverage_frac == 1.0
    assert aligned.models[0].report.duplicate_of == "base"  # cut up otherwise, the same weights


def test_the_toggle_switches_it_off():
    tensors = canonical_tensors("flux1-dev")
    model = MemorySource("m", in_diffusers_names("diffusers-flux1", tensors))
    off = Repairs(remap_diffusers=False)
    aligned = align(MemorySource("b", tensors), [("m", model)], repairs=off)
    assert aligned.models == () and aligned.skipped[0].coverage_frac < 0.1


def test_an_incomplete_join_is_reported_not_guessed():
    tensors = canonical_tensors("flux1-dev")
    other = in_diffusers_names("diffusers-flux1", tensors)
    del other["transformer_blocks.3.attn.to_k.weight"]
    other["transformer_blocks.4.attn.to_k.weight"] = torch.zeros(48, 7)
    model = MemorySource("m", other)
    report = align(MemorySource("b", tensors), [("m", model)]).models[0].report
    assert report.missing == 2 and report.extra == 5


def test_guidance_of_flux2_which_klein_lacks():
    naming = get_architecture("flux2").diffusers
    name = "time_guidance_embed.guidance_embedder.linear_{}.weight"
    pieces = {name.format(i): whole(name.format(i), (4, 2)) for i in (1, 2)}
    found, translated = remap(naming, pieces)
    assert translated == 2
    assert list(found) == ["guidance_in.in_layer.weight", "guidance_in.out_layer.weight"]


def test_lumina_joins_unequal_parts():
    naming = get_architecture("lumina2").diffusers
    rows = {"q": 6, "k": 2, "v": 2}
    pieces = {
        f"layers.0.attn.to_{x}.weight": whole(f"layers.0.attn.to_{x}.weight", (n, 5))
        for x, n in rows.items()
    }
    found, translated = remap(naming, pieces)
    assert translated == 3 and list(found) == ["layers.0.attention.qkv.weight"]
    piece = found["layers.0.attention.qkv.weight"]
    assert piece.shape == (10, 5) and [s.stop for s in piece.segments] == [30, 10, 10]


def test_publishers_hunyuan_names_meet_comfy_names():
    names = {
        "double_blocks.0.img_attn_qkv.weight": "double_blocks.0.img_attn.qkv.weight",
        "double_blocks.0.txt_attn_proj.bias": "double_blocks.0.txt_attn.proj.bias",
        "double_blocks.0.img_attn_q_norm.weight": "double_blocks.0.img_attn.norm.query_norm.scale",
        "double_blocks.0.img_mod.linear.weight": "double_blocks.0.img_mod.lin.weight",
        "double_blocks.0.img_mlp.fc1.weight": "double_blocks.0.img_mlp.0.weight",
        "single_blocks.3.k_norm.weight": "single_blocks.3.norm.key_norm.scale",
        "single_blocks.3.modulation.linear.bias": "single_blocks.3.modulation.lin.bias",
        "vector_in.in_layer.weight": "vector_in.in_layer.weight",
        "time_in.mlp.0.weight": "time_in.in_layer.weight",
        "txt_in.t_embedder.mlp.2.weight": "txt_in.t_embedder.out_layer.weight",
        "txt_in.c_embedder.linear_1.weight": "txt_in.c_embedder.in_layer.weight",
        "img_in.proj.weight": "img_in.proj.weight",
        "txt_in.individual_token_refiner.blocks.0.norm1.weight": (
            "txt_in.individual_token_refiner.blocks.0.norm1.weight"
        ),
    }
    shape = {"img_in.proj.weight": (2, 2, 1, 2, 2)}
    here = {k: torch.randn(shape.get(k, (2, 2))) for k in names.values()}
    there = {k: torch.randn(shape.get(k, (2, 2))) for k in names}
    for one, two in ((here, there), (there, here)):
        aligned = align(MemorySource("b", one), [("m", MemorySource("m", two))])
        assert aligned.architecture.name == "hunyuan_video" and aligned.keys == tuple(one)
        assert aligned.models[0].report.coverage_frac == 1.0
        assert "aliases" in aligned.models[0].report.repairs
