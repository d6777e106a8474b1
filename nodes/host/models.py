"""Converts a state dict to a MODEL and back, and chooses the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...orthomerge_core import errors
from ...orthomerge_core.io.quant.encoders import all_encoders, encoder_named

__all__ = [
    "DEVICES",
    "PREFIX",
    "Checkpoint",
    "free_memory",
    "load_checkpoint",
    "load_model",
    "require_format",
    "stored_weight",
    "torch_device",
    "weight_keys",
    "weight_value",
]

DEVICES = ("auto", "cpu")
PREFIX = "diffusion_model."
"""What the host puts before the keys of a MODEL's diffusion model."""


def torch_device(choice: str) -> str:
    """`cpu`, or for `auto` the device that the host would use."""
    if choice not in DEVICES:
        raise errors.RecipeError(f'device "{choice}"', fix=errors.did_you_mean(choice, DEVICES))
    if choice == "cpu":
        return "cpu"
    from comfy import model_management

    return str(model_management.get_torch_device())


def free_memory(n_bytes: float, device: str) -> None:
    """Ask the host to free memory on `device`; does nothing for the CPU."""
    if device == "cpu":
        return
    from comfy import model_management

    model_management.free_memory(n_bytes, torch.device(device))
    model_management.soft_empty_cache()


@dataclass(frozen=True)
class Checkpoint:
    """What ComfyUI made of a checkpoint: a MODEL, and CLIP and VAE where asked for and present."""

    model: Any
    clip: Any = None
    vae: Any = None


def load_checkpoint(
    state_dict: dict[str, torch.Tensor], metadata: Mapping[str, str], *, clip: bool, vae: bool
) -> Checkpoint:
    """MODEL, CLIP and VAE from a checkpoint's state dict, as ComfyUI's own loader makes them.

    clip, vae: whether to make these. The dict is emptied on the way.

    Raises: CompatibilityError where the host does not know the architecture.
    """
    import comfy.sd
    import folder_paths

    with torch.inference_mode():
        found = comfy.sd.load_state_dict_guess_config(
            state_dict,
            output_vae=vae,
            output_clip=clip,
            embedding_directory=folder_paths.get_folder_paths("embeddings"),
            metadata=dict(metadata),
        )
    if found is None or found[0] is None:
        raise _unknown("checkpoint")
    model, text, pixels = found[:3]
    has_vae = vae and getattr(pixels, "first_stage_model", None) is not None
    return Checkpoint(model, text if clip else None, pixels if has_vae else None)


def require_format(output_dtype: str) -> None:
    """Raise `UnsupportedError` for an output dtype whose quantization the host cannot load."""
    encoder = encoder_named(output_dtype)
    if encoder is None or encoder.in_gguf:
        return  # a file's dtype is refused by the plan
    known = _host_formats()
    if encoder.format in known:
        return
    usable = [name for name, item in all_encoders().items() if item.format in known]
    raise errors.UnsupportedError(
        f"this ComfyUI does not know the quantization {encoder.format}",
        expected="one of " + ", ".join(("base", "bf16", "fp16", "fp32", *usable)),
        received=output_dtype,
        fix="Choose one of those here; Ortho Merge Save writes any, for a newer ComfyUI.",
    )


def _host_formats() -> frozenset[str]:
    """Names of the quantizations of layers that the host can load; none before ComfyUI 0.3.68."""
    try:
        from comfy.quant_ops import QUANT_ALGOS
    except ImportError:
        return frozenset()
    return frozenset(QUANT_ALGOS)


def load_model(state_dict: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> Any:
    """A MODEL from a complete state dict; the dict is emptied on the way.

    Raises: CompatibilityError where the host does not know the architecture.
    """
    import comfy.sd

    with torch.inference_mode():  # as the host's own loaders run; quantized weights insist on it
        model = comfy.sd.load_diffusion_model_state_dict(state_dict, metadata=dict(metadata))
    if model is None:
        raise _unknown("diffusion model")
    return model


def _unknown(kind: str) -> errors.CompatibilityError:
    return errors.CompatibilityError(
        f"ComfyUI does not recognize these weights as a {kind}",
        fix=f"Choose a complete {kind} as the base, and update ComfyUI if it is new.",
    )


def weight_keys(patcher: Any, prefix: str = PREFIX) -> dict[str, torch.Tensor]:
    """Name (without `prefix`) → stored tensor of what a patcher holds below it; no copies.

    patcher: a MODEL, or the patcher of a CLIP, whose prefix is empty.
    The module's own tensors, not those of its state dict: quantized layers are packed apart there.
    """
    inner = patcher.model
    found: dict[str, torch.Tensor] = {}
    for key, packed in patcher.model_state_dict(prefix or None).items():
        module, _, field = key.rpartition(".")
        stored = getattr(inner.get_submodule(module), field, None)
        found[key[len(prefix) :]] = stored if isinstance(stored, torch.Tensor) else packed
    return found


def stored_weight(model: Any, key: str) -> torch.Tensor | None:
    """The tensor that a MODEL was loaded with under `key`, without patches; None if it has none.

    Where patches are applied in place it is the original that the host keeps. Its dtype may be a
    wider one than the file's. For a quantized layer `….weight` are the stored numbers and
    `….weight_scale` is their scale.
    """
    weight, scale = key, False
    if key.endswith(".weight_scale"):
        weight, scale = key.removesuffix("_scale"), True
    full = PREFIX + weight
    module, _, field = full.rpartition(".")
    try:
        stored = getattr(model.model.get_submodule(module), field, None)
    except AttributeError:  # the host's class has no such module
        return None
    if full in model.backup:
        stored = model.backup[full].weight
    if type(stored).__name__ == "QuantizedTensor":
        return _quantized_part(stored, "scale" if scale else "data")
    return None if scale or not isinstance(stored, torch.Tensor) else stored


def _quantized_part(stored: Any, part: str) -> torch.Tensor | None:
    """Numbers or scale of the host's quantized tensor, whose attributes differ between releases."""
    if part == "data":
        found = getattr(stored, "_qdata", None)
    else:
        params = getattr(stored, "_layout_params", None)
        kept = getattr(getattr(stored, "_params", None), "scale", None)
        found = params.get("scale") if isinstance(params, Mapping) else kept
    return found if isinstance(found, torch.Tensor) else None


def weight_value(patcher: Any, key: str, prefix: str = PREFIX) -> torch.Tensor:
    """One tensor of a patcher as float32 on the CPU, with its patches; nothing is changed.

    key, prefix: as in `weight_keys`.

    Where another clone is loaded with its patches in place, the unpatched original is used.
    """
    import comfy.lora
    from comfy.model_patcher import get_key_weight

    full = prefix + key
    stored, _, convert = get_key_weight(patcher.model, full)
    if full in patcher.backup:
        stored = patcher.backup[full].weight
    weight = _dequantized(stored).to(device="cpu", dtype=torch.float32, copy=True)
    if convert is not None:
        weight = convert(weight, inplace=True)
    patches = patcher.patches.get(full)
    if patches:
        weight = comfy.lora.calculate_weight(patches, weight, full)
    smooth = _smoothing(patcher.model, full)
    return weight if smooth is None else weight * smooth


def _smoothing(inner: Any, key: str) -> torch.Tensor | None:
    """What a layer multiplies its input by: a factor per column of its weight, patches included."""
    layer, _, field = key.rpartition(".")
    if field != "weight":
        return None
    found = getattr(inner.get_submodule(layer), "pre_quant_scale", None)
    return found.to("cpu", torch.float32) if isinstance(found, torch.Tensor) else None


def _dequantized(stored: torch.Tensor) -> torch.Tensor:
    """Quantized wrappers of the host give their own values, in float32 where they can; plain
    tensors pass."""
    if type(stored).__name__ != "QuantizedTensor":
        return stored
    params = getattr(stored, "_params", None)
    if params is None:
        return stored.dequantize()
    wide = replace(params, orig_dtype=torch.float32)  # else it rounds to the layer's bf16
    return type(stored)(stored._qdata, stored._layout_cls, wide).dequantize()
