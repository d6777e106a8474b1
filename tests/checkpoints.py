"""Full checkpoints with real names: UNet, text encoders, VAE and schedules, in any size."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import torch
import yaml
from torch import Tensor

from tests.inventories import Shapes, shrunk

_CONFIGS = {"sd15": "sd1-ldm", "sdxl": "sdxl-sgm"}
_INTEGERS = ("position_ids",)


@cache
def checkpoint_shapes(name: str) -> Shapes:
    """Key → shape of a real checkpoint ("sd15" or "sdxl"), as sd-mecha records them."""
    folder = files("sd_mecha") / "extensions" / "builtin" / "model_configs"
    config = yaml.safe_load((folder / f"{_CONFIGS[name]}.yaml").read_text(encoding="utf-8"))
    found: Shapes = {}
    for keys in config["components"].values():
        found |= {key: tuple(entry["shape"]) for key, entry in keys.items()}
    markers = {"edm_vpred.sigma_max", "edm_vpred.sigma_min", "v_pred", "ztsnr"}
    return {k: s for k, s in found.items() if k not in markers and not k.startswith("model_ema.")}


def checkpoint(
    name: str,
    seed: int = 0,
    *,
    base: dict[str, Tensor] | None = None,
    change: float = 0.01,
    factor: int = 32,
    dtype: torch.dtype = torch.float16,
) -> dict[str, Tensor]:
    """A small checkpoint with every key of the real one; with `base` a fine-tune of that.

    A fine-tune changes every float tensor, schedules too, so that a test sees which were merged.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for key, shape in shrunk(checkpoint_shapes(name), factor).items():
        if key.endswith(_INTEGERS):
            found[key] = torch.arange(shape[-1]).reshape(shape)
            continue
        noise = torch.randn(shape, generator=generator)
        if base is None:
            found[key] = (0.05 * noise).to(dtype)
        else:
            found[key] = (base[key].float() + change * noise).to(dtype)
    return found
