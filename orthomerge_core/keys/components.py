"""The components of a checkpoint: the diffusion model, its text encoders and its VAE.

A canonical key of the diffusion model has no prefix. Every other canonical key starts with the name
of its component: `text_encoder.l.text_model.final_layer_norm.bias`, `vae.decoder.conv_in.weight`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "DIFFUSION",
    "TEXT_ENCODER",
    "VAE",
    "Component",
    "claim",
    "component_label",
    "component_of",
    "is_schedule",
    "part_block",
    "part_layer_type",
]

DIFFUSION = "diffusion"
VAE = "vae"
TEXT_ENCODER = "text_encoder."
"""What the name of every text encoder starts with."""


@dataclass(frozen=True)
class Component:
    """One component as an architecture's files store it.

    `name`: canonical ("text_encoder.l"). `prefixes`: under which files store it; the first that a
    key starts with is taken off. `renames`: (regex, replacement), all applied in order to the rest
    of the key, so that two spellings of one key get one canonical name.
    """

    name: str
    prefixes: tuple[str, ...]
    renames: tuple[tuple[str, str], ...] = ()

    def canonical(self, key: str) -> str | None:
        """The canonical name of a file's key; None if the key is not in this component."""
        for prefix in self.prefixes:
            if key.startswith(prefix) and key != prefix:
                rest = key[len(prefix) :]
                for pattern, replacement in self.renames:
                    rest = re.sub(pattern, replacement, rest)
                return f"{self.name}.{rest}"
        return None


_PART = re.compile(r"(text_encoder\.[^.]+|vae)\.")
_ENCODER = re.compile(r"text_encoders\.([^.]+)\.(?:transformer\.)?(?=.)")
_SHORT = {"clip_l": "l", "clip_g": "g", "clip_h": "h", "t5xxl": "t5", "t5_xxl": "t5"}
_LABELS = {
    DIFFUSION: "diffusion model",
    VAE: "VAE",
    "text_encoder.l": "text encoder L (CLIP ViT-L)",
    "text_encoder.g": "text encoder G (CLIP ViT-bigG)",
    "text_encoder.h": "text encoder H (CLIP ViT-H)",
    "text_encoder.t5": "text encoder T5",
}
_BUFFERS = re.compile(
    r"(?:^|\.)(?:position_ids|betas|alphas_cumprod(?:_prev|_next)?|sqrt_\w+|log_one_minus_\w+"
    r"|posterior_\w+|logvar|lvlb_weights|sigmas|log_sigmas)$"
)
_FALLBACK = (Component(VAE, ("first_stage_model.", "vae.")),)


def component_of(key: str) -> str:
    """The component that a canonical key belongs to."""
    found = _PART.match(key)
    return found[1] if found else DIFFUSION


def component_label(name: str) -> str:
    """A component's name for people: "text encoder L (CLIP ViT-L)"."""
    return _LABELS.get(name) or f"text encoder {name.removeprefix(TEXT_ENCODER)}"


def is_schedule(key: str) -> bool:
    """Whether a tensor is a schedule or a table of positions, which is never merged."""
    return bool(_BUFFERS.search(key))


def claim(known: Iterable[Component], keys: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """File key → canonical name for the keys of `known` components, and the keys of none.

    All-in-one files of every architecture store encoders under `text_encoders.<name>.`, so those
    are claimed without a description. Of two keys for one place the first is claimed.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    rest: list[str] = []
    described = (*known, *_FALLBACK)
    for key in keys:
        name = next(filter(None, (c.canonical(key) for c in described)), None) or _encoder(key)
        if name is None or name in taken:
            rest.append(key)
        else:
            names[key] = name
            taken.add(name)
    return names, rest


def _encoder(key: str) -> str | None:
    found = _ENCODER.match(key)
    if not found:
        return None
    return f"{TEXT_ENCODER}{_SHORT.get(found[1], found[1])}.{key[found.end() :]}"


_LAYER = re.compile(r"(?:^|\.)(?:layers|resblocks|block|blocks|h)\.(\d+)\.")
_VAE_BLOCK = re.compile(r"(encoder|decoder)(?:\.(?:down|up|down_blocks|up_blocks)\.(\d+)|\.mid)?")


def part_block(key: str) -> str:
    """The block of a canonical key outside the diffusion model.

    `text_encoder.l.layers.3` whatever the encoder calls its layers, `text_encoder.l.embeddings`,
    `vae.decoder.3`, `vae.decoder`.
    """
    name = component_of(key)
    rest = key[len(name) + 1 :]
    if name == VAE:
        found = _VAE_BLOCK.match(rest)
        if not found:
            return f"vae.{rest.split('.', 1)[0]}"
        return f"vae.{found[1]}.{found[2]}" if found[2] else f"vae.{found[1]}"
    layer = _LAYER.search(rest)
    if layer:
        return f"{name}.layers.{int(layer[1])}"
    return f"{name}.embeddings" if _EMBEDDING.search(rest) else f"{name}.final"


_EMBEDDING = re.compile(r"embed|(?:^|\.)shared\.|(?:^|\.)wte\.|relative_attention_bias")
_PART_TYPES = (
    (re.compile(r"embed|(?:^|\.)shared\.|(?:^|\.)wte\.|relative_attention_bias"), "embedding"),
    (re.compile(r"norm|(?:^|\.)ln_"), "norm"),
    (re.compile(r"(?i)attn|attention|in_proj_|(?:^|\.)[qkvo]_proj\."), "attention"),
    (re.compile(r"(?i)mlp|dense|(?:^|\.)fc[12]\.|(?:^|\.)w[io](?:_\d)?\."), "mlp"),
    (re.compile(r"conv|(?:^|\.)nin_shortcut\."), "convolution"),
    (re.compile(r"proj"), "projection"),
)


def part_layer_type(key: str) -> str:
    """What kind of layer a canonical key outside the diffusion model belongs to."""
    return next((kind for pattern, kind in _PART_TYPES if pattern.search(key)), "other")
