"""SD 1.5 and SDXL files that ComfyUI loads: its own UNet classes, as narrow as it recognizes them.

Every level of the UNet has 320 channels, so that no layer between levels needs to widen them; depth
and names are the real ones. Text encoder and VAE of SD 1.5 have their real shapes.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from scripts.support.env import ensure_comfyui
from tests.checkpoints import checkpoint_shapes
from tests.inventories import Shapes

__all__ = ["UNET", "sd15_shapes", "sdxl_unet_shapes", "tuned", "weights"]

UNET = "model.diffusion_model."
_COMMON: dict[str, Any] = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320,
    "dtype": torch.float32, "use_temporal_attention": False,
}  # fmt: skip
_SD15: dict[str, Any] = {
    "context_dim": 768, "channel_mult": [1, 1, 1, 1], "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "num_heads": 8,
    "use_linear_in_transformer": False, "adm_in_channels": None,
}  # fmt: skip
_SDXL: dict[str, Any] = {
    "context_dim": 2048, "channel_mult": [1, 1, 1], "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "num_head_channels": 64,
    "use_linear_in_transformer": True, "adm_in_channels": 2816, "num_classes": "sequential",
}  # fmt: skip


def _unet_shapes(config: dict[str, Any]) -> Shapes:
    folder = str(ensure_comfyui())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from comfy.cli_args import args

    args.cpu = True
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    model = UNetModel(
        **_COMMON, **config, use_spatial_transformer=True, legacy=False, device="meta",
        operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    return {f"{UNET}{key}": tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def sd15_shapes(*parts: str) -> Shapes:
    """Key → shape of a checkpoint: the narrow UNet, and the real `parts` by their prefix.

    Without `parts` text encoder, VAE and schedules, in the order of real files.
    """
    real = checkpoint_shapes("sd15")
    shapes = _unet_shapes(_SD15)
    whole = {k: shapes.get(k, s) for k, s in real.items() if k in shapes or not k.startswith(UNET)}
    assert shapes.keys() <= whole.keys()
    kept = (UNET, *parts) if parts else ("",)
    return {key: shape for key, shape in whole.items() if key.startswith(kept)}


def sdxl_unet_shapes() -> Shapes:
    """Key → shape of the UNet of an SDXL checkpoint."""
    return _unet_shapes(_SDXL)


def weights(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """fp16 tensors with which a network neither vanishes nor explodes."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for key, shape in shapes.items():
        if key.endswith("position_ids"):
            found[key] = torch.arange(shape[-1]).reshape(shape)
        elif len(shape) < 2:
            norm = key.endswith("weight")
            found[key] = torch.full(shape, 1.0 if norm else 0.0, dtype=torch.float16)
        else:
            columns = max(1, torch.Size(shape).numel() // shape[0])
            scale = 0.02 if "embedding" in key else columns**-0.5
            found[key] = (torch.randn(shape, generator=generator) * scale).half()
    return found


def tuned(
    base: dict[str, Tensor], seed: int, *parts: str, change: float = 0.1
) -> dict[str, Tensor]:
    """A fine-tune: every matrix of attention layers, and all of `parts`, with noise of its size."""
    generator, found = torch.Generator().manual_seed(seed), dict(base)
    for key, tensor in base.items():
        chosen = "attn" in key or key.startswith(parts)
        if tensor.dim() < 2 or not tensor.is_floating_point() or not chosen:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        found[key] = (tensor.float() + change * tensor.float().std() * noise).half()
    return found
