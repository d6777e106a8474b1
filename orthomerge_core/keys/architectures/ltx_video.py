"""LTX-Video (2B and 13B): a video transformer in diffusers-like names from the start."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from . import _ltx

_AT = r"^(transformer_blocks\.\d+)\."

ARCHITECTURE = Architecture(
    name="ltx_video",
    label="LTX-Video",
    modelspec="lightricks-ltx-video",
    markers={
        "adaln_single.emb.timestep_embedder.linear_1.weight": None,
        "patchify_proj.weight": None,
        "transformer_blocks.0.attn2.to_k.weight": None,
    },
    absent=("audio_adaln_single.linear.weight",),
    blocks=_ltx.BLOCKS,
    layer_types=_ltx.LAYERS,
    diffusers=DiffusersMap(
        marker=r"^time_embed\.emb\.timestep_embedder\.linear_1\.weight$",
        renames=(
            (r"^time_embed\.", "adaln_single."),
            (r"^proj_in\.", "patchify_proj."),
            (rf"{_AT}attn([12])\.norm_([qk])\.", r"\1.attn\2.\3_norm."),
        ),
    ),
    input_key="patchify_proj.weight",
)
