"""Maps the layers of a LoRA to the base's weights: names of kohya, diffusers and LyCORIS."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from ..architecture import Architecture, DiffusersMap
from ..components import component_of

__all__ = ["Target", "layer_names", "target"]

Target = tuple[str, str]
"""(component, dotted name of the layer): in the base's own names or in diffusers' names for the
diffusion model, in Hugging Face's names for a CLIP."""

_PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
)
_KOHYA = re.compile(r"lora_(unet|transformer|te\d?)_(.+)$")
_DOTTED_ENCODER = re.compile(
    r"(text_encoder(?:_2|_3)?|text_encoders\.[^.]+(?:\.transformer)?)\.(.+)$"
)
_CLIP = re.compile(
    r"text_model_encoder_layers_(\d+)_(self_attn|mlp)_(q_proj|k_proj|v_proj|out_proj|fc1|fc2)$"
)
_RESNET = (
    (".in_layers.0", ".norm1"),
    (".in_layers.2", ".conv1"),
    (".emb_layers.1", ".time_emb_proj"),
    (".out_layers.0", ".norm2"),
    (".out_layers.3", ".conv2"),
    (".skip_connection", ".conv_shortcut"),
)


def layer_names(architecture: Architecture, keys: Iterable[str]) -> dict[str, str]:
    """Name with `_` for every `.` → dotted name of the layer, for the diffusion model's layers.

    Both the base's own names and, for U-Nets, those of diffusers, which kohya's files of SD 1.5
    use.
    """
    found: dict[str, str] = {}
    for key in keys:
        if not key.endswith(".weight") or component_of(key) != "diffusion":
            continue
        layer = key.removesuffix(".weight")
        found[layer.replace(".", "_")] = layer
        if architecture.diffusers is not None:
            for name in _diffusers_names(architecture.diffusers, layer):
                found.setdefault(name.replace(".", "_"), layer)
    return found


def _diffusers_names(naming: DiffusersMap, layer: str) -> Iterable[str]:
    """Diffusers' names of a U-Net's layer, by its literal renames read backwards."""
    for pattern, start in naming.renames:
        literal = pattern.removeprefix("^").replace("\\.", ".")
        if not re.fullmatch(r"[\w.]+", literal) or not (layer + ".").startswith(start):
            continue
        rest = (layer + ".")[len(start) :].rstrip(".")
        name = f"{literal}{rest}".rstrip(".")
        if ".resnets." in name:
            for ours, theirs in _RESNET:
                if ("." + rest).endswith(ours):
                    name = f"{literal}{('.' + rest).removesuffix(ours)}{theirs}".replace("..", ".")
        yield name


def target(name: str, layers: Mapping[str, str], components: Collection[str]) -> Target | None:
    """The target of a layer's name in a LoRA file; None for an unknown name."""
    kohya = _KOHYA.match(name)
    if kohya:
        return _kohya(kohya[1], kohya[2], layers, components)
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    encoder = _DOTTED_ENCODER.match(name)
    if encoder:
        component = _encoder(encoder[1], components)
        return (component, encoder[2]) if component else None
    if "." not in name and name in layers:
        return ("diffusion", layers[name])
    return ("diffusion", name)


def _kohya(
    part: str, rest: str, layers: Mapping[str, str], components: Collection[str]
) -> Target | None:
    if part in ("unet", "transformer"):
        layer = layers.get(rest)
        return ("diffusion", layer) if layer else None
    component = _encoder(part, components)
    clip = _CLIP.match(rest)
    if component is None or clip is None:
        return None
    return (component, f"text_model.encoder.layers.{clip[1]}.{clip[2]}.{clip[3]}")


def _encoder(word: str, components: Collection[str]) -> str | None:
    """The base's text encoder that a LoRA calls `te`, `te2`, `text_encoder_2`, `clip_l`, …"""
    first = ("text_encoder.l", "text_encoder.h", "text_encoder.g")
    wanted: tuple[str, ...] = {
        "te": first,
        "te1": first,
        "text_encoder": first,
        "te2": ("text_encoder.g", "text_encoder.t5"),
        "text_encoder_2": ("text_encoder.g", "text_encoder.t5"),
        "te3": ("text_encoder.t5",),
        "text_encoder_3": ("text_encoder.t5",),
    }.get(word, ())
    if word.startswith("text_encoders."):
        short = word.split(".")[1]
        wanted = (
            f"text_encoder.{ {'clip_l': 'l', 'clip_g': 'g', 't5xxl': 't5'}.get(short, short) }",
        )
    return next((name for name in wanted if name in components), None)
