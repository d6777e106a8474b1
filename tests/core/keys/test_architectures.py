"""Every architecture against the real key lists of its models."""

from __future__ import annotations

import re
from collections import Counter
from math import prod

import pytest

from orthomerge_core.errors import CompatibilityError
from orthomerge_core.keys.architecture import LAYER_TYPES, Architecture
from orthomerge_core.keys.detect import all_architectures, detect, get_architecture
from orthomerge_core.keys.markers import is_marker
from tests.inventories import inventory, small_sd3

# inventory → (architecture, keys, blocks that repeat, blocks in all)
REAL = {
    "sd15": ("sd15", 686, 24, 27),
    "sdxl": ("sdxl", 1680, 18, 22),
    "sd35-medium": ("sd3", 665, 24, 30),
    "flux1-dev": ("flux1", 780, 57, 63),
    "flux2-klein-4b": ("flux2", 149, 25, 32),
    "chroma": ("chroma", 643, 57, 61),
    "lumina2": ("lumina2", 400, 30, 35),
    "z-image": ("z_image", 454, 34, 41),
    "qwen-image": ("qwen_image", 1933, 60, 66),
    "auraflow": ("auraflow", 331, 36, 43),
    "wan-i2v-14b": ("wan", 1303, 40, 46),
    "wan-vace-1b": ("wan", 1264, 45, 51),
    "hunyuan-video": ("hunyuan_video", 856, 62, 68),
    "hunyuan-image": ("hunyuan_image", 856, 62, 67),
    "cascade-stage-c": ("stable_cascade", 1550, 194, 199),
    "cascade-stage-b": ("stable_cascade", 1726, 246, 251),
    "anima": ("anima", 685, 34, 39),
    "anima-40": ("anima", 925, 46, 51),
    "cosmos-predict2-2b": ("cosmos_predict2", 567, 28, 32),
    "cosmos-predict2-2b-i2v": ("cosmos_predict2", 567, 28, 32),
    "cosmos-predict2-14b": ("cosmos_predict2", 727, 36, 40),
    "cosmos-predict2-14b-i2v": ("cosmos_predict2", 730, 36, 41),
    "krea2": ("krea2", 430, 32, 38),
    "ltxv-2b": ("ltx_video", 715, 28, 33),
    "ltxv-13b": ("ltx_video", 1215, 48, 53),
    "ltx-2": ("ltx_2", 3568, 52, 68),
    "ltx-2.3": ("ltx_2", 4256, 52, 70),
    "hidream-i1": ("hidream", 1615, 48, 53),
    "hidream-o1": ("hidream_o1", 740, 63, 68),
    "z-image-omni": ("z_image_omni", 479, 36, 44),
    "z-image-pixel": ("z_image_pixel", 488, 38, 45),
    "newbie": ("newbie", 534, 40, 46),
    "qwen-image-21": ("qwen_image_21", 265, 32, 38),
    "ernie-image": ("ernie_image", 409, 36, 42),
    "lens": ("lens", 1264, 48, 54),
    "mage-flow": ("mage_flow", 397, 12, 18),
    "longcat-image": ("longcat_image", 412, 30, 34),
    "ovis-image": ("ovis_image", 397, 33, 38),
    "omnigen2": ("omnigen2", 582, 38, 43),
    "kandinsky5-lite": ("kandinsky5", 814, 34, 39),
    "kandinsky5-image": ("kandinsky5", 1246, 52, 57),
    "chroma-radiance": ("chroma_radiance", 659, 61, 67),
    "mochi": ("mochi", 879, 48, 54),
    "pixart-alpha": ("pixart", 444, 28, 35),
    "pixart-sigma": ("pixart", 436, 28, 33),
    "hunyuan-video-15": ("hunyuan_video_15", 1361, 56, 63),
}

# architecture → the one that its markers fit too and that a size tells from it
NARROWER = {"mage_flow": "qwen_image"}
SIZED = {"mage_flow"}

# a model that shares many names → the architectures it must not be taken for
NEAR_RELATIVES = {
    "anima": {"cosmos_predict2", "wan"},
    "cosmos-predict2-2b": {"anima"},
    "krea2": {"flux1", "generic"},
    "ltxv-2b": {"ltx_2", "pixart"},
    "ltx-2": {"ltx_video"},
    "hidream-i1": {"hidream_o1", "flux1"},
    "hidream-o1": {"hidream", "lumina2"},
    "z-image": {"z_image_omni", "z_image_pixel", "lumina2"},
    "z-image-omni": {"z_image", "z_image_pixel"},
    "z-image-pixel": {"z_image", "z_image_omni"},
    "lumina2": {"newbie", "z_image"},
    "newbie": {"lumina2", "z_image"},
    "qwen-image": {"mage_flow", "qwen_image_21", "lens"},
    "qwen-image-21": {"qwen_image", "mage_flow"},
    "mage-flow": {"qwen_image"},
    "ernie-image": {"z_image", "lumina2"},
    "lens": {"qwen_image", "mage_flow"},
    "flux1-dev": {"longcat_image", "ovis_image", "chroma"},
    "longcat-image": {"flux1", "ovis_image"},
    "ovis-image": {"flux1", "longcat_image"},
    "omnigen2": {"lumina2"},
    "kandinsky5-lite": {"generic"},
    "chroma": {"chroma_radiance", "flux1"},
    "chroma-radiance": {"chroma", "flux1"},
    "mochi": {"wan", "cosmos_predict2"},
    "pixart-sigma": {"ltx_video", "wan"},
    "hunyuan-video": {"hunyuan_video_15", "hunyuan_image"},
    "hunyuan-video-15": {"hunyuan_video", "hunyuan_image"},
}


@pytest.fixture(params=REAL, scope="module")
def real(request):
    shapes = inventory(request.param)
    return request.param, shapes, get_architecture(REAL[request.param][0])


def test_detection_as_it_stands_prefixed_and_in_a_checkpoint(real):
    _, shapes, architecture = real
    assert detect(shapes) is architecture
    for prefix in ("model.diffusion_model.", "diffusion_model.", "model.", "net.", "transformer."):
        assert detect({prefix + k: s for k, s in shapes.items()}) is architecture
    full = {"model.diffusion_model." + k: s for k, s in shapes.items()}
    full |= {"first_stage_model.encoder.conv_in.weight": (8, 3, 3, 3)}
    full |= {"text_encoders.t5xxl.transformer.shared.weight": (32, 8)}
    assert detect(full) is architecture


def test_detection_does_not_depend_on_sizes(real):
    _, shapes, architecture = real
    if architecture.name in SIZED:
        pytest.skip("known from its twin by two sizes alone, as ComfyUI does")
    half = {k: tuple(max(1, n // 2) if n > 8 else n for n in s) for k, s in shapes.items()}
    assert detect(half) is architecture


def test_exactly_one_described_architecture_fits(real):
    _, shapes, architecture = real
    fitting = [a for a in all_architectures() if a.name != "generic" and a.fits(shapes)]
    assert fitting[0] is architecture
    assert [a.name for a in fitting[1:]] == [n for n in [NARROWER.get(architecture.name)] if n]


@pytest.mark.parametrize("name", NEAR_RELATIVES)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "net."])
def test_a_near_relative_is_not_taken_for_it(name, prefix):
    found = detect({prefix + k: s for k, s in inventory(name).items()})
    assert found.name == REAL[name][0]
    assert found.name not in NEAR_RELATIVES[name]


def test_every_key_has_a_block_and_a_layer_type(real):
    name, shapes, architecture = real
    _, keys, repeating, total = REAL[name]
    blocks = {architecture.block(k) for k in shapes}
    assert len(shapes) == keys
    assert len(blocks) == total
    assert sum(any(part.isdigit() for part in b.split(".")) for b in blocks) == repeating
    kinds = Counter(architecture.layer_type(k) for k in shapes if not is_marker(k))
    assert set(kinds) <= set(LAYER_TYPES) and kinds["other"] == 0
    # HiDream O1 tells its time to the language model as a token
    modulated = set() if name == "hidream-o1" else {"modulation"}
    # Chroma Radiance ends in a convolution
    last = {"convolution"} if name == "chroma-radiance" else {"projection"}
    assert {"mlp", "embedding"} | modulated | last <= set(kinds)
    assert kinds["attention"] + kinds["attention+mlp"] >= 20


def _elements(shapes, keys):
    return sum(prod(shapes[k]) for k in keys)


def test_generic_copes_with_all_of_them(real):
    _, shapes, architecture = real
    generic = get_architecture("generic")
    other = [k for k in shapes if generic.layer_type(k) == "other"]
    assert _elements(shapes, other) <= 0.02 * _elements(shapes, shapes)
    own = {architecture.block(k) for k in shapes}
    found = {generic.block(k) for k in shapes}
    if architecture.name == "stable_cascade":  # two numbers to a block: it sees the levels
        assert {"down_blocks.0", "down_blocks.1", "up_blocks.0", "up_blocks.1"} <= found
    else:
        assert len(found & own) >= 0.9 * len(own)


@pytest.mark.parametrize(
    ("name", "key", "block", "kind"),
    [
        ("sd15", "input_blocks.4.1.transformer_blocks.0.norm1.weight", "input_blocks.4", "norm"),
        ("sd15", "input_blocks.4.0.in_layers.0.weight", "input_blocks.4", "norm"),
        ("sdxl", "middle_block.1.transformer_blocks.3.ff.net.2.bias", "middle_block", "mlp"),
        ("sdxl", "input_blocks.3.0.op.weight", "input_blocks.3", "convolution"),
        ("sdxl", "label_emb.0.2.weight", "label_emb", "embedding"),
        ("sd3", "joint_blocks.7.x_block.attn.ln_q.weight", "joint_blocks.7", "norm"),
        (
            "sd3",
            "joint_blocks.7.context_block.adaLN_modulation.1.bias",
            "joint_blocks.7",
            "modulation",
        ),
        ("sd3", "y_embedder.mlp.0.weight", "y_embedder", "embedding"),
        ("flux1", "double_blocks.18.img_attn.norm.key_norm.scale", "double_blocks.18", "norm"),
        ("flux1", "single_blocks.37.linear1.weight", "single_blocks.37", "attention+mlp"),
        ("flux1", "double_blocks.0.img_mod.lin.weight", "double_blocks.0", "modulation"),
        ("flux1", "final_layer.linear.weight", "final_layer", "projection"),
        (
            "chroma",
            "distilled_guidance_layer.layers.3.in_layer.weight",
            "distilled_guidance_layer",
            "modulation",
        ),
        ("z_image", "noise_refiner.1.attention.qkv.weight", "noise_refiner.1", "attention"),
        ("z_image", "layers.12.ffn_norm2.weight", "layers.12", "norm"),
        (
            "qwen_image",
            "transformer_blocks.59.attn.to_add_out.bias",
            "transformer_blocks.59",
            "attention",
        ),
        ("wan", "blocks.3.cross_attn.norm_k_img.weight", "blocks.3", "norm"),
        ("wan", "blocks.3.modulation", "blocks.3", "modulation"),
        (
            "hunyuan_video",
            "txt_in.individual_token_refiner.blocks.1.mlp.0.weight",
            "txt_in.individual_token_refiner.blocks.1",
            "mlp",
        ),
        ("stable_cascade", "down_blocks.1.5.kv_mapper.1.weight", "down_blocks.1.5", "attention"),
        ("anima", "blocks.27.adaln_modulation_mlp.2.weight", "blocks.27", "modulation"),
        ("anima", "llm_adapter.blocks.5.mlp.0.bias", "llm_adapter.blocks.5", "mlp"),
        ("anima", "llm_adapter.embed.weight", "llm_adapter", "embedding"),
        ("anima", "blocks.3.self_attn.output_proj.weight", "blocks.3", "attention"),
        ("cosmos_predict2", "x_embedder.proj.1.weight", "x_embedder", "embedding"),
        ("cosmos_predict2", "final_layer.adaln_modulation.1.weight", "final_layer", "modulation"),
        ("krea2", "blocks.7.mod.lin", "blocks.7", "modulation"),
        ("krea2", "blocks.7.attn.gate.weight", "blocks.7", "attention"),
        ("krea2", "blocks.7.attn.qknorm.qnorm.scale", "blocks.7", "norm"),
        ("krea2", "txtfusion.refiner_blocks.1.mlp.up.weight", "txtfusion.refiner_blocks.1", "mlp"),
        ("krea2", "last.linear.weight", "last", "projection"),
        ("krea2", "last.modulation.lin", "last", "modulation"),
        ("krea2", "tproj.1.weight", "tproj", "modulation"),
        ("krea2", "first.weight", "first", "embedding"),
        ("ltx_2", "transformer_blocks.9.audio_ff.net.2.weight", "transformer_blocks.9", "mlp"),
        (
            "ltx_2",
            "transformer_blocks.9.scale_shift_table_a2v_ca_audio",
            "transformer_blocks.9",
            "modulation",
        ),
        ("ltx_video", "adaln_single.linear.weight", "adaln_single", "modulation"),
        (
            "hidream",
            "double_stream_blocks.3.block.ff_i.experts.2.w1.weight",
            "double_stream_blocks.3",
            "mlp",
        ),
        ("hidream", "caption_projection.48.linear.weight", "caption_projection", "embedding"),
        ("ernie_image", "layers.2.adaLN_sa_ln.weight", "layers.2", "norm"),
        ("z_image_pixel", "dec_net.res_blocks.3.mlp.2.weight", "dec_net.res_blocks.3", "mlp"),
        ("z_image_omni", "siglip_refiner.1.ffn_norm1.weight", "siglip_refiner.1", "norm"),
        ("omnigen2", "ref_image_refiner.0.norm1.linear.bias", "ref_image_refiner.0", "modulation"),
        ("omnigen2", "norm_out.linear_2.weight", "norm_out", "projection"),
        ("mochi", "blocks.47.mod_y.weight", "blocks.47", "modulation"),
        ("pixart", "t_block.1.weight", "t_block", "modulation"),
        ("qwen_image_21", "modulation.1.weight", "modulation", "modulation"),
        (
            "kandinsky5",
            "visual_transformer_blocks.31.visual_modulation.out_layer.bias",
            "visual_transformer_blocks.31",
            "modulation",
        ),
        ("generic", "net.blocks.4.attn.to_q.weight", "net.blocks.4", "attention"),
        ("generic", "towers.2.mod.lin.weight", "towers.2", "modulation"),
        ("generic", "stack.3.adaLN_sa.weight", "stack.3", "modulation"),
        ("generic", "adaln_modulation_cross.1.weight", "adaln_modulation_cross", "modulation"),
        ("generic", "adaln_single.linear.bias", "adaln_single", "modulation"),
        ("generic", "final.scale_shift_table", "final", "modulation"),
        ("generic", "first.weight", "first", "embedding"),
        ("generic", "last.linear.weight", "last", "embedding"),
        ("generic", "q_embedder.0.weight", "q_embedder", "embedding"),
        ("generic", "something_else", "something_else", "other"),
    ],
)
def test_single_keys(name, key, block, kind):
    architecture = get_architecture(name)
    assert (architecture.block(key), architecture.layer_type(key)) == (block, kind)


@pytest.mark.parametrize(("depth", "hidden"), [(1, 8), (2, 128), (5, 24)])
def test_small_sd3_of_any_size(depth, hidden):
    shapes = small_sd3(depth, hidden)
    assert detect(shapes).name == "sd3"
    blocks = {b for b in map(detect(shapes).block, shapes) if b.startswith("joint")}
    assert len(blocks) == depth


def test_unknown_keys_are_generic():
    assert detect({}).name == detect({"a.b": (1,)}).name == "generic"


def test_sd2_differs_from_sd15_by_its_context():
    shapes = inventory("sd15")
    key = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    assert detect(shapes | {key: (320, 1024)}).name == "sd2"


def test_the_refiner_is_no_sdxl():
    shapes = inventory("sdxl")
    for i in (9, 10, 11):
        shapes[f"input_blocks.{i}.0.in_layers.0.weight"] = (1536,)
    assert detect(shapes).name == "sdxl_refiner"


def test_descriptions_are_sound():
    known = all_architectures()
    names = [a.name for a in known]
    assert len(set(names)) == len(names) and known[-1].name == "generic"
    for a in known:
        assert isinstance(a, Architecture) and a.label
        assert {kind for _, kind in a.layer_types} <= set(LAYER_TYPES)
        assert all(pattern.count("(") > pattern.count("(?:") for pattern in a.blocks)


def test_a_wrong_name_gets_a_suggestion():
    with pytest.raises(CompatibilityError) as error:
        get_architecture("flux")
    assert str(error.value).startswith('unknown architecture "flux". Did you mean "flux')


@pytest.mark.parametrize(
    ("name", "shapes", "word"),
    [
        ("sdxl", {}, "stable-diffusion-xl-v1-base"),
        ("sd15", {"input_blocks.0.0.weight": (320, 4, 3, 3)}, "stable-diffusion-v1"),
        ("sd15", {"input_blocks.0.0.weight": (320, 9, 3, 3)}, "stable-diffusion-v1/inpaint"),
        ("sd2", {"input_blocks.0.0.weight": (320, 9, 3, 3)}, "stable-diffusion-v2-768-v"),
        ("flux1", {"guidance_in.in_layer.weight": (3072, 256)}, "Flux.1-dev"),
        ("flux1", {}, "Flux.1-schnell"),
        ("wan", {"patch_embedding.weight": (1536, 16, 1, 2, 2)}, "wan-2_1-text2video-1_3b"),
        ("anima", {"x_embedder.proj.1.weight": (5120, 68)}, "anima"),
        ("ernie_image", {}, "ernie-image"),
    ],
)
def test_modelspec_has_its_own_words(name, shapes, word):
    assert get_architecture(name).modelspec_of(shapes) == word


def test_every_architecture_has_a_word_of_modelspec():
    for known in all_architectures():
        assert re.fullmatch(r"[A-Za-z0-9._/-]+", known.modelspec_of({})), known.name
