"""Models of another depth or width: refused in one sentence, or laid over the blocks of a map."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import CompatibilityError
from orthomerge_core.keys.align import align
from orthomerge_core.keys.depth import depth_words, parse_block_map, stacks
from orthomerge_core.keys.setspec import ModelSpec
from tests.core.keys.small import source
from tests.inventories import inventory, shrunk


def anima(blocks: int, width: int = 16) -> dict[str, torch.Tensor]:
    """An Anima-like model of a few blocks; every block has a value of its own."""
    tensors = {
        "x_embedder.proj.1.weight": torch.zeros(width, 68),
        "llm_adapter.blocks.0.cross_attn.q_proj.weight": torch.zeros(width, width),
        "final_layer.linear.weight": torch.zeros(64, width),
    }
    for i in range(blocks):
        for name in ("mlp.layer1", "adaln_modulation_self_attn.1"):
            tensors[f"blocks.{i}.{name}.weight"] = torch.full((width, width), float(i))
    return tensors


def laid(base, model, block_map="", prefix=""):
    spec = ModelSpec("m", "m.safetensors", block_map=block_map)
    return align(source("base", base), [(spec, source("m", model, prefix))])


@pytest.mark.parametrize("prefix", ["", "net.", "model.diffusion_model.net."])
@pytest.mark.parametrize(("mine", "bases"), [(6, 4), (4, 6), (2, 6), (1, 2)])
def test_another_depth_is_refused_in_one_sentence(mine, bases, prefix):
    aligned = laid(anima(bases), anima(mine), prefix=prefix)
    (report,) = aligned.skipped
    assert not aligned.models
    assert report.verdict == (
        f"another depth of the same architecture: blocks: {mine}, base has {bases}. To apply its "
        "change to some blocks, say which of its blocks are which of the base's in block_map"
    )


def test_a_delta_of_fewer_blocks_goes_to_the_blocks_of_the_map():
    aligned = laid(anima(6), anima(4), "0-1=0-1, 2-3=4-5")
    (model,) = aligned.models
    values = {}
    for i in range(6):
        key = f"blocks.{i}.mlp.layer1.weight"
        if model.has(key):
            out = torch.empty(256)
            model.read_into(key, out)
            values[i] = out.unique().item()
    assert values == {0: 0.0, 1: 1.0, 4: 2.0, 5: 3.0}
    assert model.report.missing == 4 and model.report.extra == 0
    assert "4 of its 15 tensors are not usable here" in model.report.verdict


def test_blocks_beyond_the_map_are_told():
    aligned = laid(anima(4), anima(6), "0-2=1-3")
    (model,) = aligned.models
    assert not model.has("blocks.0.mlp.layer1.weight")
    assert any(
        "6 tensors are left out: not named in the block map" in f for f in model.report.findings
    )


def test_stacks_are_named_where_there_are_several():
    base = shrunk(inventory("flux1-dev"))
    keep = {0: 0, 15: 1, 18: 2}
    lite = {}
    for key, shape in base.items():
        head, _, rest = key.partition(".")
        number, _, inner = rest.partition(".")
        if head != "double_blocks":
            lite[key] = shape
        elif int(number) in keep:
            lite[f"double_blocks.{keep[int(number)]}.{inner}"] = shape
    full, small = ({k: torch.zeros(s) for k, s in x.items()} for x in (base, lite))
    (report,) = laid(full, small).skipped
    assert "double_blocks: 3, base has 19" in report.verdict
    (report,) = laid(small, full).skipped
    assert "double_blocks: 19, base has 3" in report.verdict
    named = laid(full, small, "double_blocks.0=0, double_blocks.1=15, double_blocks.2=18")
    bare = laid(full, small, "0=0, 1=15, 2=18")
    for aligned in (named, bare):
        (model,) = aligned.models
        (segment,) = model.segments["double_blocks.15.img_attn.qkv.weight"]
        assert segment.key == "double_blocks.1.img_attn.qkv.weight"


def test_a_part_of_a_model_is_no_other_depth():
    part = {k: v for k, v in anima(8).items() if not k.startswith(("blocks.0", "blocks.3"))}
    assert laid(anima(8), part).models


def test_depth_is_compared_within_blocks_too():
    big = [f"input_blocks.4.1.transformer_blocks.{i}.attn1.to_q.weight" for i in range(10)]
    words = depth_words(big, big[:4])
    assert words == "input_blocks.4.1.transformer_blocks: 4, base has 10"
    assert stacks(big)["input_blocks"] == {4}


def test_another_width_is_refused_and_a_few_odd_tensors_are_not():
    norms = {f"blocks.{i}.{n}_norm.weight": torch.ones(4) for i in range(4) for n in "abcdef"}
    (report,) = laid(anima(4) | norms, anima(4, 32) | norms).skipped
    assert report.verdict == (
        "another width of the same architecture: llm_adapter.blocks.0.cross_attn.q_proj.weight is "
        "[32, 32], base has [16, 16]; 96% of the weights in its blocks have another shape"
    )
    (report,) = laid(anima(4), anima(4, 32)).skipped
    assert report.verdict.startswith("other size of the same architecture: x_embedder.proj.1")
    odd = anima(4) | {"final_layer.linear.weight": torch.zeros(4, 16)}
    assert laid(anima(4), odd).models


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0-9", '"0-9" cannot be read'),
        ("a=b", '"a=b" cannot be read'),
        ("0-9=0-8", 'the ranges of "0-9=0-8" differ in length'),
        ("3-1=3-1", "differ in length"),
        ("0-99999=0-99999", "differ in length"),
        ("0=1, 1=1", "block 1 of the base is named twice"),
    ],
)
def test_a_map_that_cannot_be_read(text, words):
    with pytest.raises(CompatibilityError) as error:
        parse_block_map(text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("block_map", "words"),
    [
        ("0-4=0-4", "the model has no block blocks.4"),
        ("0=7", "the base has no block blocks.7"),
        ("bloks.0=0", 'the model has no stack "bloks". Did you mean "blocks"'),
    ],
)
def test_a_map_that_names_what_is_not_there(block_map, words):
    with pytest.raises(CompatibilityError) as error:
        laid(anima(6), anima(4), block_map)
    assert words in str(error.value)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 20))
def test_ranges_are_pairs(start, to, more):
    pairs = parse_block_map(f"x.blocks.{start}-{start + more} = {to}-{to + more}\n")["x.blocks"]
    assert pairs == tuple((start + i, to + i) for i in range(more + 1))


def test_flux_dev_and_schnell_have_one_depth_and_differ_in_the_guidance():
    """Four tensors: kept from a base that has them, not merged into one that lacks them."""
    dev = {key: torch.zeros(shape) for key, shape in shrunk(inventory("flux1-dev")).items()}
    schnell = {key: t + 1 for key, t in dev.items() if not key.startswith("guidance_in")}
    (model,) = laid(dev, schnell).models
    assert (model.report.missing, model.report.extra) == (4, 0)
    assert any("4 tensors are missing (guidance_in." in text for text in model.report.findings)
    (model,) = laid(schnell, dev).models
    assert (model.report.missing, model.report.extra) == (0, 4)
    words = "4 tensors are not in the base (guidance_in."
    assert any(words in text for text in model.report.findings)
    (mapped,) = laid(dev, schnell, "single_blocks.0-9=10-19").models
    assert mapped.report.missing == 4 + 28 * len(
        [key for key in dev if key.startswith("single_blocks.0.")]
    )
