"""Layer names for LoRA files that ComfyUI and kohya's tools read."""

from __future__ import annotations

from ..keys.components import DIFFUSION, TEXT_ENCODER, component_of

__all__ = ["NAMINGS", "layer_of"]

NAMINGS = ("kohya", "comfyui")
"""kohya: `lora_unet_…` with `_` for `.`; comfyui: `diffusion_model.…` with the dots kept."""

_ENCODERS = {"l": "clip_l", "g": "clip_g", "h": "clip_h", "t5": "t5xxl"}


def layer_of(key: str, naming: str) -> tuple[str, str] | None:
    """(layer's name in a LoRA, part) of a canonical key; None if no LoRA can hold that tensor.

    The part is "weight", "bias", or "other" for a parameter that is neither. ComfyUI reads both
    namings for every architecture; parameters of the kind "other" and text encoders have their
    dotted names in either, since kohya's naming has none for them.
    """
    component = component_of(key)
    rest, _, last = key.rpartition(".")
    part = last if last in ("weight", "bias") and rest else "other"
    layer = key if part == "other" else rest
    if component == DIFFUSION:
        if naming == "kohya" and part != "other":
            return f"lora_unet_{layer.replace('.', '_')}", part
        return f"diffusion_model.{layer}", part
    if not component.startswith(TEXT_ENCODER):
        return None
    short = component.removeprefix(TEXT_ENCODER)
    inner = layer.removeprefix(f"{component}.")
    if short not in _ENCODERS or not inner.startswith(("text_model.", "encoder.", "shared")):
        return None
    return f"text_encoders.{_ENCODERS[short]}.transformer.{inner}", part
