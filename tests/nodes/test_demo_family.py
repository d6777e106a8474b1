"""The demo's decoder on ComfyUI's own TAESD, against the formula it was made for."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

from scripts.support.decoder import STRIPE_DARKENS, to_fields, to_latent, vae_weights
from scripts.support.family import SCALE, SHIFT
from scripts.support.pictures import DEPTH_PX, GROUND, SIZE, Style, draw

RICH = Style(outline=2.6, sunset=True, stripes=True)


def fields() -> Tensor:
    return draw(["a red circle", "a yellow star"], RICH, torch.Generator().manual_seed(1))


def naive(drawn: Tensor) -> Tensor:
    """Fields [n, 8, h, w] → pictures [n, 3, 8 h, 8 w], edges 1.5 pixels wide."""
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (line[:, None] * line)[None, None]
    for _ in range(3):
        drawn = functional.interpolate(drawn.relu(), scale_factor=2, mode="nearest")
        flat = functional.conv2d(drawn.flatten(0, 1)[:, None], kernel, padding=1)
        drawn = flat.view(len(drawn), -1, *flat.shape[2:])
    distance = 8 * DEPTH_PX * (1 - drawn[:, :1])
    cover = (0.5 - distance / 1.5).clamp(0, 1)
    stripes = (0.5 + 12 * (drawn[:, 7:] - 0.5)).clamp(0, 1)
    shape = (drawn[:, 1:4].clamp(0, 1) - STRIPE_DARKENS * stripes - (1 - cover)).relu()
    return shape + (drawn[:, 4:7] + GROUND - cover).relu()


def test_the_decoder_draws_what_its_formula_says(pack: ModuleType):
    from comfy.taesd.taesd import TAESD

    vae = TAESD(latent_channels=16)
    vae.load_state_dict(vae_weights())
    with torch.no_grad():
        shown = vae.decode(to_latent(fields()) / SCALE + SHIFT) / 2 + 0.5
    assert shown.shape == (2, 3, 8 * SIZE, 8 * SIZE)
    torch.testing.assert_close(shown, naive(fields()), atol=1e-4, rtol=0)


def test_fields_survive_the_latent():
    torch.testing.assert_close(to_fields(to_latent(fields())), fields(), atol=1e-5, rtol=0)
