"""Normalisation loses nothing: every tensor of a file is in the view, or left out with a reason."""

from __future__ import annotations

from collections import Counter
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core.errors import CompatibilityError
from orthomerge_core.keys.align import align
from orthomerge_core.keys.detect import all_architectures
from orthomerge_core.keys.normalize import View, normalize_shapes
from orthomerge_core.keys.other_files import no_base, what_else
from orthomerge_core.keys.prefixes import PREFIXES
from orthomerge_core.keys.remap import remap, whole
from orthomerge_core.keys.setspec import Repairs
from tests.fakes import MemorySource
from tests.inventories import diffusers_names, inventory, small_sd3

REPAIRS = st.builds(Repairs, *[st.booleans()] * len(vars(Repairs())))
PARTS = st.sampled_from(
    [
        "model",
        "diffusion_model",
        "transformer",
        "net",
        "first_stage_model",
        "conditioner",
        "text_encoders",
        "model_ema",
        "v_pred",
        "transformer_blocks",
        "0",
        "1",
        "attn",
        "to_q",
        "to_k",
        "to_v",
        "norm",
        "weight",
        "bias",
        "scale",
        "",
        "ä",
    ]
)
KEYS = st.lists(PARTS, min_size=1, max_size=6).map(".".join)
SHAPES = st.dictionaries(KEYS, st.lists(st.integers(0, 6), max_size=4).map(tuple), max_size=12)


def file_elements(view: View) -> Counter[str]:
    """File key → how many of its elements the view uses."""
    used: Counter[str] = Counter()
    for piece in (*view.pieces.values(), *view.parts.values()):
        for seg in piece.segments:
            used[seg.key] += seg.stop - seg.start
    return used


def assert_complete(shapes, view: View):
    used = file_elements(view)
    left = [key for keys in view.left_out.values() for key in keys]
    assert len(left) == len(set(left)) and not set(left) & set(used)
    assert set(used) | set(left) == set(shapes)
    assert all(used[key] == prod(shapes[key]) for key in used)
    for piece in view.pieces.values():
        assert sum(s.stop - s.start for s in piece.segments) == prod(piece.shape)


@given(SHAPES, REPAIRS, st.booleans())
def test_any_keys_are_kept_or_left_out_with_a_reason(shapes, repairs, components):
    view = normalize_shapes(shapes, repairs, components=components)
    assert components or not view.parts
    assert view.architecture in all_architectures()
    assert_complete(shapes, view)
    if not repairs.fix_prefixes:
        assert view.prefix == ""


@given(st.sampled_from(PREFIXES), st.sampled_from(["", *PREFIXES]), st.integers(1, 3))
def test_stacked_prefixes_come_off(outer, inner, depth):
    shapes = {outer + inner + k: s for k, s in small_sd3(depth, 8).items()}
    view = normalize_shapes(shapes)
    assert view.shapes == small_sd3(depth, 8)
    assert view.prefix == outer + inner and view.architecture.name == "sd3"


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd35-medium", "flux1", "z-image", "auraflow"])
def test_diffusers_names_use_every_element_once(name):
    table = diffusers_names(f"diffusers-{name}")
    wanted = inventory({"flux1": "flux1-dev"}.get(name, name))
    shapes = {}
    for key, (target, _, rows, _) in table.items():
        if target in wanted and not key.startswith("class_embedding."):  # the older spelling
            shape = wanted[target]
            shapes[key] = shape if rows is None else (rows, *shape[1:])
    view = normalize_shapes(shapes)
    assert view.diffusers and view.architecture.diffusers is not None
    assert_complete(shapes, view)
    assert all(view.shapes[k] == wanted[k] for k in view.shapes)


@settings(max_examples=40)
@given(SHAPES)
def test_remaps_never_lose_a_tensor(shapes):
    pieces = {key: whole(key, shape) for key, shape in shapes.items()}
    for architecture in all_architectures():
        if architecture.diffusers is None:
            continue
        found, _ = remap(architecture.diffusers, pieces)
        used = {seg.key for piece in found.values() for seg in piece.segments}
        assert used == set(shapes)


def test_two_keys_for_one_place_keep_the_first():
    shapes = inventory("sdxl")
    names = {target: key for key, (target, *_) in diffusers_names("diffusers-sdxl").items()}
    model = {names[k]: s for k, s in shapes.items()}
    twins = ["add_embedding.linear_1.bias", "class_embedding.linear_1.bias"]
    model |= dict.fromkeys(twins, shapes["label_emb.0.0.bias"])
    view = normalize_shapes(model)
    assert_complete(model, view)
    assert len(view.pieces) == 1681 and len(set(view.pieces) & set(twins)) == 1


def test_a_block_called_model_keeps_its_name():
    shapes = {"model.a.weight": (2, 2), "model.b.weight": (2, 2), "head.weight": (2, 2)}
    view = normalize_shapes(shapes)
    assert view.prefix == "" and set(view.pieces) == set(shapes)


def test_a_checkpoint_of_an_unknown_architecture():
    shapes = {"model.diffusion_model.a.weight": (2, 2), "betas": (10,), "logvar": (3,)}
    view = normalize_shapes(shapes)
    assert set(view.pieces) == {"a.weight"}
    assert view.left_out == {"outside the diffusion model": ("betas", "logvar")}


def test_what_else_needs_more_than_one_odd_key():
    assert what_else([]) == ""
    assert what_else(["a.lora_A.weight", "a.lora_B.weight"]).startswith("a LoRA")
    assert what_else(["a.lora_A.weight", *(f"blocks.{i}.w" for i in range(9))]) == ""


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["unet.a.attn1.processor.to_q_lora.up.weight"], "a LoRA"),
        (["diffusion_model.a.diff", "diffusion_model.a.diff_b"], "a LoRA"),
        (["diffusion_model.a.set_weight"], "a LoRA"),
        (["lora_controlnet", *(f"input_blocks.{i}.0.up" for i in range(9))], "a control LoRA"),
        (["emb_params"], "a textual-inversion embedding"),
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "an IP-Adapter"),
        (["down_blocks.0.motion_modules.0.proj_in.weight"], "a motion module"),
    ],
)
def test_what_is_no_base_says_what_it_is(keys, words):
    assert what_else(keys).startswith(words)
    assert no_base(keys) == what_else(keys)
    base = MemorySource("b", {key: torch.ones(4, 4) for key in keys})
    with pytest.raises(CompatibilityError, match=f'base "b" is {words}'):
        align(base, [])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["control_model.a.weight"], "a ControlNet"),
        (["body.0.rdb1.conv1.weight"], "an upscaler"),
        (["first_stage_model.encoder.conv_in.weight"], "a VAE"),
    ],
)
def test_models_of_other_kinds_can_be_merged_among_themselves(keys, words):
    assert what_else(keys).startswith(words) and no_base(keys) == ""


STABLE_AUDIO = {
    "preprocess_conv.weight": (16, 16, 1),
    "to_cond_embed.0.weight": (32, 32),
    "transformer.project_in.weight": (32, 16),
    **{f"transformer.layers.{i}.self_attn.to_qkv.weight": (96, 32) for i in range(80)},
}


@pytest.mark.parametrize("prefix", ["", "model.model.", "model.diffusion_model.", "model.", "net."])
def test_an_inner_module_called_transformer_keeps_its_name(prefix):
    view = normalize_shapes({prefix + k: s for k, s in STABLE_AUDIO.items()})
    assert set(view.pieces) == set(STABLE_AUDIO)
    assert view.prefix == prefix and not view.left_out


@pytest.mark.parametrize("inner", ["transformer.", "model.", "net.", "dit.", "unet."])
def test_of_an_unknown_model_one_prefix_is_taken_off_and_no_more(inner):
    shapes = {f"model.diffusion_model.{inner}{k}": (4, 4) for k in ("a.0.w", "b.1.w")}
    view = normalize_shapes(shapes)
    assert set(view.pieces) == {f"{inner}a.0.w", f"{inner}b.1.w"}


@pytest.mark.parametrize(
    "wrapper", ["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"]
)
def test_names_of_wrappers_are_taken_out_wherever_they_stand(wrapper):
    plain = small_sd3(2, 8)
    rooted = {f"{wrapper}.model.diffusion_model.{k}": s for k, s in plain.items()}
    inside = {k.replace("_block.", f"_block.{wrapper}."): s for k, s in plain.items()}
    both = {f"{wrapper}.{k}": s for k, s in inside.items()}
    for shapes in (rooted, inside, both):
        view = normalize_shapes(shapes)
        assert view.shapes == plain and view.architecture.name == "sd3"
        assert view.repairs == ("fix_prefixes",)


def test_a_wrapped_twin_of_a_key_is_not_lost():
    shapes = {"a.w": (2, 2), "a._orig_mod.w": (2, 2)}
    assert_complete(shapes, normalize_shapes(shapes))


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "net."])
@pytest.mark.parametrize("bare", [True, False])
def test_markers_lose_the_prefix_with_the_rest_or_stand_without_it(prefix, bare):
    shapes = {prefix + k: s for k, s in small_sd3(1, 8).items()}
    shapes |= {("" if bare else prefix) + "__index_timestep_zero__": (0,)}
    view = normalize_shapes(shapes)
    assert set(view.pieces) == {*small_sd3(1, 8), "__index_timestep_zero__"}
