"""Every architecture against the real key lists of its models."""

from __future__ import annotations

from collections import Counter

import pytest

from orthomerge_core.errors import CompatibilityError
from orthomerge_core.keys.architecture import LAYER_TYPES, Architecture, is_matrix
from orthomerge_core.keys.detect import all_architectures, detect, get_architecture
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
    half = {k: tuple(max(1, n // 2) if n > 8 else n for n in s) for k, s in shapes.items()}
    assert detect(half) is architecture


def test_exactly_one_described_architecture_fits(real):
    _, shapes, architecture = real
    fitting = [a for a in all_architectures() if a.name != "generic" and a.fits(shapes)]
    assert fitting == [architecture]


def test_every_key_has_a_block_and_a_layer_type(real):
    name, shapes, architecture = real
    _, keys, repeating, total = REAL[name]
    blocks = {architecture.block(k) for k in shapes}
    assert len(shapes) == keys
    assert len(blocks) == total
    assert sum(any(part.isdigit() for part in b.split(".")) for b in blocks) == repeating
    kinds = Counter(architecture.layer_type(k) for k in shapes)
    assert set(kinds) <= set(LAYER_TYPES) and kinds["other"] == 0
    assert {"mlp", "modulation", "embedding", "projection"} <= set(kinds)
    assert kinds["attention"] + kinds["attention+mlp"] >= 20


def test_vectors_never_rotate_and_most_elements_do(real):
    _, shapes, architecture = real
    turning = {k for k, s in shapes.items() if architecture.rotates(k, s)}
    assert all(len(shapes[k]) >= 2 and shapes[k][0] > 1 for k in turning)
    assert not {k for k in turning if k.endswith((".bias", ".scale", "pos_embed", "_token"))}

    def elements(keys):
        total = 0
        for key in keys:
            count = 1
            for n in shapes[key]:
                count *= n
            total += count
        return total

    assert elements(turning) > 0.9 * elements(k for k in shapes if k != "pos_embed")


def test_generic_copes_with_all_of_them(real):
    _, shapes, architecture = real
    generic = get_architecture("generic")
    kinds = Counter(generic.layer_type(k) for k in shapes)
    assert kinds["other"] <= 0.05 * len(shapes)
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
        ("generic", "net.blocks.4.attn.to_q.weight", "net.blocks.4", "attention"),
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


def test_is_matrix():
    shapes = [(), (3,), (1, 5), (5, 1), (0, 4), (2, 2), (4, 1, 3, 3), (4, 0)]
    assert [is_matrix(s) for s in shapes] == [False] * 5 + [True, True, False]
