"""LTX-2, 2.3 and 2.5: video and audio in one transformer; gates and tables vary by version."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from . import _ltx

_AT = r"^(transformer_blocks\.\d+)\."
_SIDES = r"(audio_)?"

ARCHITECTURE = Architecture(
    name="ltx_2",
    label="LTX-2",
    modelspec="lightricks-ltx-video-2",
    markers={
        "audio_adaln_single.linear.weight": None,
        "patchify_proj.weight": None,
        "transformer_blocks.0.attn2.to_k.weight": None,
    },
    blocks=_ltx.BLOCKS,
    layer_types=_ltx.LAYERS,
    diffusers=DiffusersMap(
        marker=r"^audio_time_embed\.linear\.weight$",
        renames=(
            (rf"^{_SIDES}time_embed\.", r"\1adaln_single."),
            (rf"^{_SIDES}proj_in\.", r"\1patchify_proj."),
            (r"^av_cross_attn_video_a2v_gate\.", "av_ca_a2v_gate_adaln_single."),
            (r"^av_cross_attn_audio_v2a_gate\.", "av_ca_v2a_gate_adaln_single."),
            (
                r"^av_cross_attn_(video|audio)_scale_shift\.",
                r"av_ca_\1_scale_shift_adaln_single.",
            ),
            (
                rf"{_AT}(video|audio)_a2v_cross_attn_scale_shift_table$",
                r"\1.scale_shift_table_a2v_ca_\2",
            ),
            (rf"{_AT}(\w*attn[12]?)\.norm_([qk])\.", r"\1.\2.\3_norm."),
        ),
        note="the text connectors lie in a folder of their own there",
    ),
    input_key="patchify_proj.weight",
)
