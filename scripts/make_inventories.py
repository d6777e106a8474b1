"""Write key → shape lists of models, made from ComfyUI's own classes on the meta device.

    COMFYUI_DIR=/path/to/a/newer/ComfyUI python scripts/make_inventories.py [NAME…]

Names and shapes only, no weights: what stands in `tests/fixtures/inventories`. The sizes are those
of the released models.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["CLASSES", "shapes_of"]

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures" / "inventories"

_PREDICT2: dict[str, Any] = {
    "max_img_h": 240,
    "max_img_w": 240,
    "max_frames": 128,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 2048,
    "num_blocks": 28,
    "num_heads": 16,
    "pos_emb_cls": "rope3d",
    "use_adaln_lora": True,
}
_PREDICT2_14B = {**_PREDICT2, "model_channels": 5120, "num_blocks": 36, "num_heads": 40}
_HIDREAM: dict[str, Any] = {
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "caption_channels": [4096, 4096],
    "axes_dims_rope": (64, 32, 32),
    "llama_layers": [*range(32), *[31] * 16],
}
_Z_IMAGE: dict[str, Any] = {
    "in_channels": 16,
    "dim": 3840,
    "n_layers": 30,
    "n_heads": 30,
    "n_kv_heads": 30,
    "ffn_dim_multiplier": 8 / 3,
    "qk_norm": True,
    "cap_feat_dim": 2560,
    "axes_dims": [32, 48, 48],
    "axes_lens": [1536, 512, 512],
    "z_image_modulation": True,
    "pad_tokens_multiple": 32,
}
_LUMINA: dict[str, Any] = {
    "in_channels": 16,
    "dim": 2304,
    "n_layers": 36,
    "n_heads": 24,
    "n_kv_heads": 8,
    "ffn_dim_multiplier": 4.0,
    "qk_norm": True,
    "cap_feat_dim": 2560,
    "axes_dims": [32, 32, 32],
    "axes_lens": [1024, 512, 512],
}
_FLUX: dict[str, Any] = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": None,
    "context_in_dim": 3584,
    "hidden_size": 3072,
    "mlp_ratio": 4.0,
    "num_heads": 24,
    "depth": 10,
    "depth_single_blocks": 20,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": False,
    "txt_ids_dims": [1, 2],
}
_RADIANCE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "context_in_dim": 4096,
    "hidden_size": 3072,
    "mlp_ratio": 4.0,
    "num_heads": 24,
    "depth": 19,
    "depth_single_blocks": 38,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 16,
    "qkv_bias": True,
    "in_dim": 64,
    "out_dim": 3072,
    "hidden_dim": 5120,
    "n_layers": 5,
    "txt_ids_dims": [],
    "vec_in_dim": None,
    "nerf_hidden_size": 64,
    "nerf_mlp_ratio": 4,
    "nerf_depth": 4,
    "nerf_max_freqs": 8,
    "nerf_tile_size": 512,
    "nerf_final_head_type": "conv",
    "nerf_embedder_dtype": None,
    "use_x0": True,
    "use_sequential_txt_ids": False,
}
_OMNIGEN2: dict[str, Any] = {
    "hidden_size": 2520,
    "num_layers": 32,
    "num_attention_heads": 21,
    "num_kv_heads": 7,
    "axes_dim_rope": (40, 40, 40),
    "axes_lens": (1024, 1664, 1664),
    "text_feat_dim": 2048,
}
_MOCHI: dict[str, Any] = {
    "in_channels": 12,
    "hidden_size_x": 3072,
    "hidden_size_y": 1536,
    "num_heads": 24,
    "mlp_ratio_x": 4.0,
    "mlp_ratio_y": 4.0,
    "qk_norm": True,
    "qkv_bias": False,
    "out_bias": True,
    "use_t5": True,
    "learn_sigma": False,
}
_LTX_23: dict[str, Any] = {
    "apply_gated_attention": True,
    "caption_proj_before_connector": True,
    "cross_attention_adaln": True,
    "connector_apply_gated_attention": True,
}
_HUNYUAN_15: dict[str, Any] = {
    "image_model": "hunyuan_video",
    "in_channels": 65,
    "out_channels": 32,
    "patch_size": [1, 1, 1],
    "vec_in_dim": None,
    "context_in_dim": 3584,
    "hidden_size": 2048,
    "mlp_ratio": 4.0,
    "num_heads": 16,
    "depth": 54,
    "depth_single_blocks": 0,
    "axes_dim": [16, 56, 56],
    "theta": 256,
    "qkv_bias": True,
    "guidance_embed": False,
    "byt5": True,
    "meanflow": False,
    "use_cond_type_embedding": True,
    "vision_in_dim": 1152,
    "meanflow_sum": True,
}
_NANO = {"model_dim": 2560, "ff_dim": 10240, "visual_embed_dim": 64, "num_visual_blocks": 50}

# name → (module below comfy.ldm, class, arguments)
CLASSES: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "anima": ("anima.model", "Anima", _PREDICT2),
    "anima-40": ("anima.model", "Anima", {**_PREDICT2, "num_blocks": 40}),
    "cosmos-predict2-2b": ("cosmos.predict2", "MiniTrainDIT", _PREDICT2),
    "cosmos-predict2-2b-i2v": ("cosmos.predict2", "MiniTrainDIT", {**_PREDICT2, "in_channels": 17}),
    "cosmos-predict2-14b": ("cosmos.predict2", "MiniTrainDIT", _PREDICT2_14B),
    "cosmos-predict2-14b-i2v": (
        "cosmos.predict2",
        "MiniTrainDIT",
        {**_PREDICT2_14B, "in_channels": 17, "extra_per_block_abs_pos_emb": True},
    ),
    "krea2": ("krea2.model", "SingleStreamDiT", {}),
    "ltxv-2b": ("lightricks.model", "LTXVModel", {}),
    "ltxv-13b": (
        "lightricks.model",
        "LTXVModel",
        {"num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096},
    ),
    "ltx-2": ("lightricks.av_model", "LTXAVModel", {}),
    "ltx-2.3": ("lightricks.av_model", "LTXAVModel", _LTX_23),
    "hidream-i1": ("hidream.model", "HiDreamImageTransformer2DModel", _HIDREAM),
    "hidream-o1": ("hidream_o1.model", "HiDreamO1Transformer", {}),
    "z-image-omni": ("lumina.model", "NextDiT", {**_Z_IMAGE, "siglip_feat_dim": 1152}),
    "z-image-pixel": (
        "lumina.model",
        "NextDiTPixelSpace",
        {**_Z_IMAGE, "in_channels": 3, "patch_size": 32, "use_x0": True},
    ),
    "newbie": ("lumina.model", "NextDiT", {**_LUMINA, "clip_text_dim": 1024}),
    "ernie-image": ("ernie.model", "ErnieImageModel", {}),
    "lens": ("lens.model", "LensTransformer2DModel", {}),
    "mage-flow": ("mage_flow.model", "MageFlowTransformer2DModel", {}),
    "longcat-image": ("flux.model", "Flux", _FLUX),
    "ovis-image": (
        "flux.model",
        "Flux",
        {
            **_FLUX,
            "context_in_dim": 2048,
            "depth": 6,
            "depth_single_blocks": 27,
            "yak_mlp": True,
            "txt_norm": True,
        },
    ),
    "omnigen2": ("omnigen.omnigen2", "OmniGen2Transformer2DModel", _OMNIGEN2),
    "kandinsky5-lite": ("kandinsky5.model", "Kandinsky5", {}),
    "kandinsky5-image": ("kandinsky5.model", "Kandinsky5", _NANO),
    "chroma-radiance": ("chroma_radiance.model", "ChromaRadiance", _RADIANCE),
    "mochi": ("genmo.joint_model.asymm_models_joint", "AsymmDiTJoint", _MOCHI),
    "pixart-alpha": (
        "pixart.pixartms",
        "PixArtMS",
        {"input_size": 128, "model_max_length": 120, "micro_condition": True},
    ),
    "pixart-sigma": (
        "pixart.pixartms",
        "PixArtMS",
        {"input_size": 128, "model_max_length": 300, "micro_condition": False},
    ),
    "hunyuan-video-15": ("hunyuan_video.model", "HunyuanVideo", _HUNYUAN_15),
}


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """Key → shape of a model, from the class of the ComfyUI on `sys.path`."""
    import comfy.ops
    import torch

    module, cls, arguments = CLASSES[name]
    kind = getattr(import_module(f"comfy.ldm.{module}"), cls)
    model = kind(
        device="meta", dtype=torch.bfloat16, operations=comfy.ops.disable_weight_init, **arguments
    )
    return {key: tuple(t.shape) for key, t in model.state_dict().items()}


def main(names: list[str]) -> None:
    """Write the named inventories, or all of them."""
    root = os.environ.get("COMFYUI_DIR")
    if not root:
        raise SystemExit("COMFYUI_DIR must name a ComfyUI that knows these models")
    sys.path.insert(0, root)
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    for name in names or CLASSES:
        shapes = shapes_of(name)
        body = json.dumps({k: list(s) for k, s in shapes.items()}).encode()
        (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(body, 9, mtime=0))
        size = sum(_numel(s) for s in shapes.values())
        sys.stdout.write(f"{name}: {len(shapes)} keys, {size / 1e9:.2f} B\n")


def _numel(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


if __name__ == "__main__":
    main(sys.argv[1:])
