"""Files that are no model to merge, known by their keys, each with a sentence that says so."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["what_else"]

_KINDS: tuple[tuple[str, str], ...] = (
    (
        r"\.lora_(?:up|down|A|B)\.|(?:^|\.)lora_(?:unet|te|transformer)|\.hada_w1|\.lokr_w1|\.oft_diag",
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
    (r"^string_to_param|^emb_params$|^clip_[lg]$", "a textual-inversion embedding, not a model"),
)


_NAMINGS: tuple[tuple[str, str], ...] = (
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
"""Namings of known architectures that cannot be read; one key is enough to know them."""


def what_else(keys: Iterable[str]) -> str:
    """What a file is if it is no model to merge ("a LoRA, …"), or "" if that is not known."""
    keys = list(keys)
    for pattern, words in _NAMINGS:
        if any(re.search(pattern, key) for key in keys):
            return words
    for pattern, words in _KINDS:
        found = re.compile(pattern)
        if sum(1 for key in keys if found.search(key)) > 0.3 * len(keys):
            return words
    return ""
