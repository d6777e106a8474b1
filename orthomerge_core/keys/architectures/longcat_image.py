"""LongCat-Image: Flux.1's blocks without pooled text, over 3584 text features."""

from __future__ import annotations

from dataclasses import replace

from ..architecture import Architecture
from .flux1 import ARCHITECTURE as FLUX1

_DIFFUSERS = FLUX1.diffusers

ARCHITECTURE = Architecture(
    name="longcat_image",
    label="LongCat-Image",
    markers={
        "img_in.weight": None,
        "txt_in.weight": None,
        "double_blocks.0.img_attn.qkv.weight": None,
        "double_blocks.0.img_mod.lin.weight": None,
        "double_blocks.0.img_mlp.0.weight": None,
    },
    absent=(
        "vector_in.in_layer.weight",
        "distilled_guidance_layer.in_proj.weight",
        "txt_norm.weight",
        "txt_norm.scale",
    ),
    blocks=FLUX1.blocks,
    layer_types=FLUX1.layer_types,
    diffusers=_DIFFUSERS
    and replace(
        _DIFFUSERS,
        renames=(
            (r"^time_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
            (r"^time_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
            *_DIFFUSERS.renames,
        ),
    ),
    input_key="img_in.weight",
)
