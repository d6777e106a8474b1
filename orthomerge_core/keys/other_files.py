"""Recognizes, by their keys, files that cannot be merged as models, and says what they are."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["no_base", "what_else"]

_KINDS: tuple[tuple[str, str], ...] = (
    (
        r"\.lora_(?:up|down|A|B)\.|_lora\.(?:up|down)\.|(?:^|\.)lora_(?:unet|te|transformer)|\.hada_w1"
        r"|\.lokr_w1|\.oft_diag|\.diff(?:_b)?$|\.set_weight$",
        "a LoRA, not a model: load it onto a MODEL and add that to the set",
    ),
    (
        r"^control_model\.|^controlnet_|^zero_convs\.|^input_hint_block\.|^controlnet_cond_embedding\.",
        "a ControlNet, not a diffusion model",
    ),
    (r"ip_adapter\.|^image_proj\.", "an IP-Adapter, not a diffusion model"),
    (
        r"^(?:first_stage_model\.|vae\.)?(?:encoder|decoder)\.(?:conv_in|conv1|mid|mid_block|middle)\.",
        "a VAE, not a diffusion model",
    ),
    (
        r"^(?:text_model\.encoder|encoder\.block\.\d+\.layer|(?:model\.)?layers\.\d+\.self_attn\.q_proj"
        r"|transformer\.resblocks|cond_stage_model|conditioner|text_encoders?)[.\d]",
        "a text encoder, not a diffusion model",
    ),
    (r"\.motion_modules\.|^motion_modules\.", "a motion module of AnimateDiff, not a model"),
    (
        r"^(?:model\.\d+\.sub\.\d+|body\.\d+|trunk_conv|RRDB_trunk\.\d+)\.(?:RDB|rdb)\d\.",
        "an upscaler, not a diffusion model",
    ),
    (r"^string_to_param|^emb_params$|^clip_[lg]$", "a textual-inversion embedding, not a model"),
)


_BY_ONE_KEY: tuple[tuple[str, str], ...] = (
    (r"^lora_controlnet$", "a control LoRA, not a model: load it as a ControlNet"),
    (
        r"^cond_type_embed\.weight$",
        "HunyuanVideo 1.5 in diffusers names, which are not translated: use the file in original "
        "names",
    ),
    (
        r"^context_embedder\.token_refiner\.",
        "HunyuanImage in diffusers names, which are not translated: use the file in original names",
    ),
)
"""What one key is enough to know, such as namings of known architectures that cannot be read."""

_NO_BASES = ("a LoRA", "a control LoRA", "a textual-inversion", "an IP-Adapter", "a motion module")


def what_else(keys: Iterable[str]) -> str:
    """What a file is if it cannot be merged as a model ("a LoRA, …"), or "" if unknown."""
    keys = list(keys)
    for pattern, words in _BY_ONE_KEY:
        if any(re.search(pattern, key) for key in keys):
            return words
    for pattern, words in _KINDS:
        found = re.compile(pattern)
        if sum(1 for key in keys if found.search(key)) > 0.3 * len(keys):
            return words
    return ""


def no_base(keys: Iterable[str]) -> str:
    """What a file is that holds changes or additions to a model, and so cannot be a base; or ""."""
    words = what_else(keys)
    return words if words.startswith(_NO_BASES) else ""
