"""Wan 2.1 and 2.2: video transformers of any size; text, image, VACE, camera, audio, pose."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from ._layers import TRANSFORMER

_AT = r"^((?:vace_)?blocks\.\d+)\."

_DIFFUSERS = DiffusersMap(
    marker=r"^condition_embedder\.time_embedder\.linear_1\.weight$",
    renames=(
        (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
        (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
        (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
        (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
        (r"^condition_embedder\.time_proj\.", "time_projection.1."),
        (r"^condition_embedder\.image_embedder\.norm1\.", "img_emb.proj.0."),
        (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj\.", "img_emb.proj.1."),
        (r"^condition_embedder\.image_embedder\.ff\.net\.2\.", "img_emb.proj.3."),
        (r"^condition_embedder\.image_embedder\.norm2\.", "img_emb.proj.4."),
        (r"^condition_embedder\.image_embedder\.pos_embed$", "img_emb.emb_pos"),
        (r"^scale_shift_table$", "head.modulation"),
        (r"^proj_out\.", "head.head."),
        (rf"{_AT}scale_shift_table$", r"\1.modulation"),
        (r"^(vace_blocks\.\d+)\.proj_in\.", r"\1.before_proj."),
        (r"^(vace_blocks\.\d+)\.proj_out\.", r"\1.after_proj."),
        (rf"{_AT}norm2\.", r"\1.norm3."),
        (rf"{_AT}ffn\.net\.0\.proj\.", r"\1.ffn.0."),
        (rf"{_AT}ffn\.net\.2\.", r"\1.ffn.2."),
        (rf"{_AT}attn1\.to_([qkv])\.", r"\1.self_attn.\2."),
        (rf"{_AT}attn1\.to_out\.0\.", r"\1.self_attn.o."),
        (rf"{_AT}attn1\.norm_([qk])\.", r"\1.self_attn.norm_\2."),
        (rf"{_AT}attn2\.to_([qkv])\.", r"\1.cross_attn.\2."),
        (rf"{_AT}attn2\.to_out\.0\.", r"\1.cross_attn.o."),
        (rf"{_AT}attn2\.norm_([qk])\.", r"\1.cross_attn.norm_\2."),
        (rf"{_AT}attn2\.add_([kv])_proj\.", r"\1.cross_attn.\2_img."),
        (rf"{_AT}attn2\.norm_added_k\.", r"\1.cross_attn.norm_k_img."),
    ),
    note="camera, audio and pose layers are not translated",
)

ARCHITECTURE = Architecture(
    name="wan",
    label="Wan 2.x",
    modelspec="wan-2_1-text2video-14b",
    modelspec_variants=(
        ("wan-2_1-vace-1_3b", "vace_blocks.0.after_proj.weight", (1536, None)),
        ("wan-2_1-vace-14b", "vace_blocks.0.after_proj.weight", None),
        ("wan-2_1-flf2v-14b", "img_emb.emb_pos", None),
        ("wan-2_1-image2video-14b", "img_emb.proj.1.weight", None),
        ("wan-2_2-image2video-14b", "patch_embedding.weight", (5120, 36, None, None, None)),
        ("wan-2_2-ti2v-5b", "patch_embedding.weight", (3072, None, None, None, None)),
        ("wan-2_1-text2video-1_3b", "patch_embedding.weight", (1536, None, None, None, None)),
    ),
    markers={
        "head.modulation": None,
        "patch_embedding.weight": None,
        "blocks.0.self_attn.q.weight": None,
    },
    blocks=(
        r"^(audio_injector\.\w+\.\d+)\.",
        r"^(face_adapter\.fuser_blocks\.\d+)\.",
        r"^(control_adapter|motion_encoder|face_encoder|casual_audio_encoder|audio_proj)\.",
        r"(?:^|\.)((?:vace_)?blocks\.\d+)\.",
    ),
    layer_types=(
        (r"^(?:motion_encoder|casual_audio_encoder\.weights)(?:\.|$)", "embedding"),
        (r"^trainable_cond_mask\.", "embedding"),
        (r"(?:^|\.)time_projection\.|(?:^|\.)modulation$", "modulation"),
        (r"(?:before|after)_proj\.", "projection"),
        *TRANSFORMER,
    ),
    diffusers=_DIFFUSERS,
    axes=(
        (r"(?:^|\.)modulation$", (1, None, None)),
        (r"patch_embedding\.weight$", (None, None, 1, None, None)),
    ),
    input_key="patch_embedding.weight",
    extra_channels_last=True,
    variants={36: "image-to-video variant"},
)
