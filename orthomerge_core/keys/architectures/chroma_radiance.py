"""Chroma Radiance: Chroma on pixels, with small blocks that paint each patch."""

from __future__ import annotations

from dataclasses import replace

from .chroma import ARCHITECTURE as CHROMA

ARCHITECTURE = replace(
    CHROMA,
    name="chroma_radiance",
    label="Chroma Radiance",
    modelspec="chroma-radiance",
    markers={
        "distilled_guidance_layer.in_proj.weight": None,
        "double_blocks.0.img_attn.qkv.weight": None,
        "img_in_patch.weight": None,
    },
    absent=(),
    blocks=(*CHROMA.blocks, r"(?:^|\.)(nerf_blocks\.\d+)\."),
    layer_types=(
        (r"^img_in_patch\.|^nerf_image_embedder\.", "embedding"),
        (r"^nerf_final_layer_conv\.conv\.", "convolution"),
        (r"^nerf_final_layer\.linear\.", "projection"),
        *CHROMA.layer_types,
    ),
    diffusers=None,
    input_key="img_in_patch.weight",
)
