"""Flux.1: 19 double and 38 single blocks at width 3072; dev, schnell, Fill and control variants."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from . import _components, _flux

_DIFFUSERS = DiffusersMap(
    marker=r"^single_transformer_blocks\.0\.proj_mlp\.weight$",
    renames=(
        *_flux.EMBEDDERS,
        *_flux.OUTER,
    ),
    inner=(
        *_flux.MODULATIONS,
        *_flux.INNER,
    ),
    joins=_flux.DOUBLE_JOINS | _flux.SINGLE_JOINS,
    swaps=_flux.SWAPS,
)

ARCHITECTURE = Architecture(
    name="flux1",
    label="Flux.1",
    modelspec="Flux.1-schnell",
    modelspec_variants=(
        ("Flux.1-dev/inpaint", "img_in.weight", (None, 384)),
        ("Flux.1-dev", "guidance_in.in_layer.weight", None),
    ),
    markers={
        "img_in.weight": (None, None),
        "vector_in.in_layer.weight": None,
        "double_blocks.0.img_attn.qkv.weight": None,
        "double_blocks.0.img_mod.lin.weight": None,
    },
    absent=("distilled_guidance_layer.in_proj.weight",),
    blocks=_flux.BLOCKS,
    layer_types=_flux.LAYERS,
    diffusers=_DIFFUSERS,
    input_key="img_in.weight",
    extra_channels_last=True,
    variants={384: "Fill (inpaint) variant", 128: "control variant"},
    components=_components.FLUX,
)
