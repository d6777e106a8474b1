"""Architectures against ComfyUI's own model classes and its own detection, at real size.

The inventories hold one model of each architecture; here the host builds its variants, unallocated.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
import torch

from orthomerge_core.keys.align import align
from orthomerge_core.keys.detect import all_architectures, detect
from orthomerge_core.keys.known import get_architecture
from tests.fakes import MemorySource
from tests.inventories import inventory

XL_SMALL = {
    "transformer_depth_middle": -1,
    "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
}
REFINER = {
    "model_channels": 384,
    "context_dim": 1280,
    "adm_in_channels": 2560,
    "num_res_blocks": [2] * 4,
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0],
    "transformer_depth_middle": 4,
    "transformer_depth_output": [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
}
SD2 = {"context_dim": 1024, "use_linear_in_transformer": True}
RADIANCE = {"image_model": "chroma_radiance", "in_channels": 3, "out_channels": 3, "patch_size": 16}
RADIANCE |= {"nerf_hidden_size": 64, "nerf_mlp_ratio": 4, "nerf_depth": 4, "nerf_max_freqs": 8}
RADIANCE |= {"nerf_tile_size": 512, "nerf_final_head_type": "conv", "nerf_embedder_dtype": None}
HY15 = {"in_channels": 65, "out_channels": 32, "patch_size": [1, 1, 1], "hidden_size": 2048}
HY15 |= {"vec_in_dim": None, "context_in_dim": 3584, "num_heads": 16, "depth": 54, "byt5": True}
HY15 |= {"depth_single_blocks": 0, "vision_in_dim": 1152, "use_cond_type_embedding": True}
REFINED = {"in_channels": 128, "out_channels": 64, "patch_size": [1, 1, 1], "hidden_size": 3328}
REFINED |= {"vec_in_dim": None, "context_in_dim": 3584, "num_heads": 26, "meanflow": True}
LARGE = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 2432}}
WAN_5B = {"in_dim": 48, "out_dim": 48, "dim": 3072, "num_heads": 24, "ffn_dim": 14336}
FLUX2 = {"hidden_size": 6144, "context_in_dim": 15360, "depth": 8, "depth_single_blocks": 48}
FLUX2 |= {"num_heads": 48}

# variant → (ComfyUI's class, inventory of the relative, what differs, our architecture, blocks)
VARIANTS: dict[str, tuple[str, str, dict[str, Any], str, int]] = {
    "sd15 inpaint": ("SD15", "sd15", {"in_channels": 9}, "sd15", 24),
    "sd15 instruct": ("SD15_instructpix2pix", "sd15", {"in_channels": 8}, "sd15", 24),
    "sd2": ("SD20", "sd15", SD2, "sd2", 24),
    "sd2 depth": ("SD20", "sd15", {**SD2, "in_channels": 5}, "sd2", 24),
    "sdxl inpaint": ("SDXL", "sdxl", {"in_channels": 9}, "sdxl", 18),
    "sdxl refiner": ("SDXLRefiner", "sdxl", REFINER, "sdxl_refiner", 24),
    "ssd-1b": ("SSD1B", "sdxl", {"transformer_depth": [0, 0, 2, 2, 4, 4], **XL_SMALL}, "sdxl", 18),
    "sd3 medium": (
        "SD3",
        "sd35-medium",
        {"qk_norm": None, "x_block_self_attn_layers": []},
        "sd3",
        24,
    ),
    "sd3.5 large": (
        "SD3",
        "sd35-medium",
        {"depth": 38, "context_embedder_config": LARGE, "x_block_self_attn_layers": []},
        "sd3",
        38,
    ),
    "flux schnell": ("FluxSchnell", "flux1-dev", {"guidance_embed": False}, "flux1", 57),
    "flux fill": ("FluxInpaint", "flux1-dev", {"in_channels": 96}, "flux1", 57),
    "flux2 dev": ("Flux2", "flux2-klein-4b", {**FLUX2, "guidance_embed": True}, "flux2", 56),
    "chroma radiance": ("ChromaRadiance", "chroma", RADIANCE, "chroma_radiance", 61),
    "wan2.1 text": ("WAN21_T2V", "wan-i2v-14b", {"in_dim": 16, "model_type": "t2v"}, "wan", 40),
    "wan2.2 5b": (
        "WAN22_T2V",
        "wan-i2v-14b",
        {**WAN_5B, "num_layers": 30, "model_type": "t2v"},
        "wan",
        30,
    ),
    "wan first-last": ("WAN21_I2V", "wan-i2v-14b", {"flf_pos_embed_token_number": 514}, "wan", 40),
    "wan control": ("WAN21_FunControl2V", "wan-i2v-14b", {"in_dim": 48}, "wan", 40),
    "wan camera": (
        "WAN21_Camera",
        "wan-i2v-14b",
        {"in_dim": 32, "model_type": "camera"},
        "wan",
        40,
    ),
    "wan2.2 camera": ("WAN22_Camera", "wan-i2v-14b", {"model_type": "camera_2.2"}, "wan", 40),
    "wan humo": ("WAN21_HuMo", "wan-i2v-14b", {"model_type": "humo"}, "wan", 40),
    "wan speech": ("WAN22_S2V", "wan-i2v-14b", {"in_dim": 16, "model_type": "s2v"}, "wan", 64),
    "wan animate": ("WAN22_Animate", "wan-i2v-14b", {"model_type": "animate"}, "wan", 48),
    "hunyuan i2v": ("HunyuanVideoI2V", "hunyuan-video", {"in_channels": 33}, "hunyuan_video", 62),
    "hunyuan 1.5": (
        "HunyuanVideo15",
        "hunyuan-video",
        {**HY15, "guidance_embed": False},
        "hunyuan_video_15",
        56,
    ),
    "hunyuan image refiner": (
        "HunyuanImage21Refiner",
        "hunyuan-video",
        {**REFINED, "guidance_embed": False},
        "hunyuan_video",
        62,
    ),
}

# architecture → (ComfyUI's class, its whole configuration, blocks that repeat); not all have a file
# here, but each must make sense as generic
WHOLE: dict[str, tuple[str, dict[str, Any], int]] = {
    "ltx_video": ("LTXV", {"image_model": "ltxv"}, 28),
    "": (
        "HunyuanDiT1",
        {
            "image_model": "hydit1",
            "depth": 40,
            "num_heads": 16,
            "hidden_size": 1408,
            "mlp_ratio": 4.3637,
            "size_cond": False,
            "use_style_cond": False,
        },
        40,
    ),
    "omnigen2": (
        "Omnigen2",
        {
            "image_model": "omnigen2",
            "axes_dim_rope": [40, 40, 40],
            "axes_lens": [1024, 1664, 1664],
            "hidden_size": 2520,
            "in_channels": 16,
            "multiple_of": 256,
            "norm_eps": 1e-5,
            "num_attention_heads": 21,
            "num_kv_heads": 7,
            "num_layers": 32,
            "num_refiner_layers": 2,
            "patch_size": 2,
            "text_feat_dim": 2048,
            "timestep_scale": 1000.0,
        },
        38,
    ),
    "hidream": (
        "HiDream",
        {
            "image_model": "hidream",
            "axes_dims_rope": [64, 32, 32],
            "attention_head_dim": 128,
            "caption_channels": [4096, 4096],
            "in_channels": 16,
            "llama_layers": [*range(32)] + [31] * 16,
            "max_resolution": [128, 128],
            "num_attention_heads": 20,
            "num_layers": 16,
            "num_routed_experts": 4,
            "num_activated_experts": 2,
            "num_single_layers": 32,
            "out_channels": 16,
            "patch_size": 2,
            "text_emb_dim": 2048,
        },
        48,
    ),
}


@pytest.fixture(scope="module")
def host(pack: Any) -> Any:
    """ComfyUI's detection and its list of models."""
    import comfy.model_detection
    import comfy.supported_models

    return comfy


def unallocated(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {k: torch.empty(s, device="meta", dtype=torch.bfloat16) for k, s in shapes.items()}


def later_radiance_fields() -> dict[str, Any]:
    """Settings that later releases insist on; markers in a file decide them."""
    from comfy.ldm.chroma_radiance.model import ChromaRadianceParams

    known = {field.name for field in dataclasses.fields(ChromaRadianceParams)}
    return dict.fromkeys({"use_x0", "use_sequential_txt_ids"} & known, False)


def key_list(host: Any, name: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """What the host's model of that class holds."""
    if name == "ChromaRadiance":
        config = config | later_radiance_fields()
    described = getattr(host.supported_models, name)(dict(config))
    described.set_inference_dtype(torch.bfloat16, torch.bfloat16)
    with torch.device("meta"):
        model = described.get_model({}, "", device="meta")
    return {k: tuple(t.shape) for k, t in model.diffusion_model.state_dict().items()}


def relative(host: Any, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    return {**host.model_detection.detect_unet_config(unallocated(inventory(name)), ""), **changes}


def repeating(architecture: Any, shapes: dict[str, tuple[int, ...]]) -> set[str]:
    blocks = {architecture.block(k) for k in shapes}
    return {b for b in blocks if any(part.isdigit() for part in b.split("."))}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_recognised_and_no_key_is_unassigned(host: Any, variant: str) -> None:
    theirs, parent, changes, ours, blocks = VARIANTS[variant]
    build = {"WAN22_T2V": "WAN21_T2V", "SD15_instructpix2pix": "SD15"}.get(theirs, theirs)
    shapes = key_list(host, build, relative(host, parent, changes))
    found = host.model_detection.model_config_from_unet(unallocated(shapes), "")
    assert type(found).__name__ == theirs  # the host takes it for what it is meant to be
    architecture = detect(shapes)
    assert architecture.name == ours
    assert detect({f"model.diffusion_model.{k}": s for k, s in shapes.items()}) is architecture
    kinds = Counter(architecture.layer_type(k) for k in shapes)
    assert kinds["other"] == 0
    assert len(repeating(architecture, shapes)) == blocks


@pytest.mark.parametrize("name", WHOLE)
def test_generic_makes_sense_of_every_model(host: Any, name: str) -> None:
    theirs, config, blocks = WHOLE[name]
    shapes = key_list(host, theirs, config)
    expected = [name, "generic"] if name else ["generic"]
    assert [a.name for a in all_architectures() if a.fits(shapes)] == expected
    assert detect(shapes).name == expected[0]
    assert len(repeating(detect(shapes), shapes)) == blocks
    for architecture in map(get_architecture, expected):
        assert Counter(architecture.layer_type(k) for k in shapes)["other"] == 0


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("sd15 inpaint", "inpaint variant: 9 input channels, base has 4"),
        ("sd15 instruct", "image-edit variant: 8 input channels, base has 4"),
        ("sdxl inpaint", "inpaint variant: 9 input channels, base has 4"),
        ("flux fill", "Fill (inpaint) variant: 384 input channels, base has 64"),
        (
            "flux schnell",
            "same architecture as the base, but 4 of its 780 tensors are not usable he",
        ),
        ("hunyuan i2v", "image-to-video variant: 33 input channels, base has 16"),
        ("hunyuan 1.5", "other architecture: HunyuanVideo 1.5, base is HunyuanVideo"),
        ("sdxl refiner", "other architecture: SDXL refiner, base is SDXL"),
        ("sd2", "other architecture: Stable Diffusion 2, base is Stable Diffusion 1.5"),
        ("chroma radiance", "other architecture: Chroma Radiance, base is Chroma"),
    ],
)
def test_its_verdict_against_the_common_model(host: Any, variant: str, words: str) -> None:
    theirs, parent, changes, _, _ = VARIANTS[variant]
    build = {"SD15_instructpix2pix": "SD15"}.get(theirs, theirs)
    shapes = key_list(host, build, relative(host, parent, changes))
    base = MemorySource("base", unallocated(inventory(parent)))
    model = MemorySource("model", unallocated(shapes))
    aligned = align(base, [("m", model)], find_duplicates=False)
    report = aligned.models[0].report if aligned.models else aligned.skipped[0]
    assert report.verdict.startswith(words)
