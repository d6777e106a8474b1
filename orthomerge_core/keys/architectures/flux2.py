"""Flux.2 and Flux.2 Klein: one modulation for all blocks, no biases."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from . import _flux

_DIFFUSERS = DiffusersMap(
    marker=r"^single_transformer_blocks\.0\.attn\.to_qkv_mlp_proj\.weight$",
    renames=(
        (r"^time_guidance_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
        (r"^time_guidance_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
        (r"^time_guidance_embed\.guidance_embedder\.linear_1\.", "guidance_in.in_layer."),
        (r"^time_guidance_embed\.guidance_embedder\.linear_2\.", "guidance_in.out_layer."),
        (r"^((?:double|single)_stream_modulation(?:_img|_txt)?)\.linear\.", r"\1.lin."),
        *_flux.OUTER,
    ),
    inner=(
        (r"^(double_blocks\.\d+)\.ff\.linear_in\.", r"\1.img_mlp.0."),
        (r"^(double_blocks\.\d+)\.ff\.linear_out\.", r"\1.img_mlp.2."),
        (r"^(double_blocks\.\d+)\.ff_context\.linear_in\.", r"\1.txt_mlp.0."),
        (r"^(double_blocks\.\d+)\.ff_context\.linear_out\.", r"\1.txt_mlp.2."),
        (r"^(single_blocks\.\d+)\.attn\.to_qkv_mlp_proj\.", r"\1.linear1."),
        (r"^(single_blocks\.\d+)\.attn\.to_out\.", r"\1.linear2."),
        *_flux.INNER,
    ),
    joins=_flux.DOUBLE_JOINS,
    swaps=_flux.SWAPS,
)

ARCHITECTURE = Architecture(
    name="flux2",
    label="Flux.2",
    modelspec="flux.2-dev",
    markers={
        "img_in.weight": None,
        "double_stream_modulation_img.lin.weight": None,
        "double_blocks.0.img_attn.qkv.weight": None,
    },
    blocks=_flux.BLOCKS,
    layer_types=_flux.LAYERS,
    diffusers=_DIFFUSERS,
    input_key="img_in.weight",
)
