"""Chroma: Flux.1 without modulation layers, guided by one distilled network."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from . import _components, _flux

_DIFFUSERS = DiffusersMap(
    marker=r"^distilled_guidance_layer\.layers\.0\.linear_1\.weight$",
    renames=(
        (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_1\.", r"\1.in_layer."),
        (r"^(distilled_guidance_layer\.layers\.\d+)\.linear_2\.", r"\1.out_layer."),
        (r"^(distilled_guidance_layer\.norms\.\d+)\.weight$", r"\1.scale"),
        *_flux.OUTER,
    ),
    inner=_flux.INNER,
    joins=_flux.DOUBLE_JOINS | _flux.SINGLE_JOINS,
)

ARCHITECTURE = Architecture(
    name="chroma",
    label="Chroma",
    modelspec="chroma",
    markers={
        "distilled_guidance_layer.in_proj.weight": None,
        "double_blocks.0.img_attn.qkv.weight": None,
    },
    absent=("img_in_patch.weight",),
    blocks=_flux.BLOCKS,
    layer_types=_flux.LAYERS,
    diffusers=_DIFFUSERS,
    input_key="img_in.weight",
    components=_components.FLUX,
)
