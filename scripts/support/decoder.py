"""The demo's latent space, and a decoder set by hand that shows it.

A latent holds the eight fields of `pictures`, each in two of its sixteen channels. The decoder has
TAESD's shape, so ComfyUI loads it with its own VAE loader.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .pictures import DEPTH_PX, FIELDS, GROUND

__all__ = ["LATENT", "SCALE", "SHIFT", "to_fields", "to_latent", "vae_weights"]

LATENT = 16
SHIFT, SCALE = 0.0609, 1.5305
"""ComfyUI's SD3 latent format."""
CENTERS, GAINS = (0.6, *[0.5] * 3, *[0.2] * 3, 0.25), (1.2, *[2.0] * 6, 2.0)
"""How the fields of `pictures` become numbers around zero: (field − center) · gain."""
STRIPE_DARKENS = 0.5
_SHAPE, _BEHIND = 20, 24  # where the last block of the decoder leaves the two layers of a picture
_SOFT_PX, _STRIPE_EDGE = 1.5, 12.0  # widths of the edges of shapes and of stripes

_Conv = tuple[Tensor, Tensor]


def to_latent(fields: Tensor) -> Tensor:
    """Fields [n, 8, h, w] of `pictures` → what the model sees [n, 16, h, w]: each field twice."""
    raw = _to_raw(fields.movedim(1, -1)).movedim(-1, 1)
    return (raw - SHIFT) * SCALE


def _to_raw(fields: Tensor) -> Tensor:
    """Fields [..., 8] → what the decoder sees [..., 16]; its first step takes 3·tanh(x/3)."""
    centerd = (fields - torch.tensor(CENTERS)) * torch.tensor(GAINS)
    return 3 * torch.atanh((centerd / 3).clamp(-0.99, 0.99)).repeat_interleave(2, dim=-1)


def to_fields(latent: Tensor) -> Tensor:
    """The reverse of `to_latent`: [n, 16, h, w] → [n, 8, h, w]; the two channels' mean counts."""
    center, gain = (torch.tensor(x)[:, None, None] for x in (CENTERS, GAINS))
    pressed = torch.tanh((latent / SCALE + SHIFT) / 3) * 3
    return pressed.unflatten(1, (-1, 2)).mean(dim=2) / gain + center


def vae_weights() -> dict[str, Tensor]:
    """A TAESD-shaped autoencoder that enlarges the fields and cuts them at their edges.

    Three smooth enlargements carry the fields, none below 0, to the picture's size. The last block
    makes of them, with ReLUs, cover = clamp(0.5 − distance) and per color
    relu(color − stripes − (1 − cover)) + relu(ground − cover).
    """
    weights = {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
    _decoder(weights)
    _encoder(weights)
    return weights


def _decoder(weights: dict[str, Tensor]) -> None:
    first, offset = _conv(weights, "taesd_decoder.1", 64, LATENT)
    for field, (center, gain) in enumerate(zip(CENTERS, GAINS, strict=True)):
        first[field, 2 * field : 2 * field + 2, 1, 1] = 0.5 / gain
        offset[field] = center
    for i in (3, 4, 5, 8, 9, 10, 13, 14, 15):
        _block(weights, f"taesd_decoder.{i}")
    for i in (7, 12, 17):
        smooth, _ = _conv(weights, f"taesd_decoder.{i}", 64, 64, bias=False)
        for field in range(len(FIELDS)):
            smooth[field, field] = _blur()
    _cut(_block(weights, "taesd_decoder.18"))
    show, _ = _conv(weights, "taesd_decoder.19", 3, 64)
    for c in range(3):
        show[c, [_SHAPE + c, _BEHIND + c], 1, 1] = 1.0


def _encoder(weights: dict[str, Tensor]) -> None:
    """A rough way back: the whole picture becomes the color of a shape that fills it."""
    enter, _ = _conv(weights, "taesd_encoder.0", 64, 3)
    enter[:3, :, 1, 1] = torch.eye(3)
    for i in (1, 3, 4, 5, 7, 8, 9, 11, 12, 13):
        _block(weights, f"taesd_encoder.{i}")
    for i in (2, 6, 10):
        shrink, _ = _conv(weights, f"taesd_encoder.{i}", 64, 64, bias=False)
        for c in range(3):
            shrink[c, c] = _blur()
    leave, offset = _conv(weights, "taesd_encoder.14", LATENT, 64)
    offset += _to_raw(torch.tensor([2.0, *[0.0] * 7]))
    for c in range(3):
        leave[2 * (1 + c) : 2 * (1 + c) + 2, c, 1, 1] = GAINS[1 + c]


def _conv(weights: dict[str, Tensor], name: str, out: int, into: int, bias: bool = True) -> _Conv:
    """A 3×3 convolution of zeros among the weights: its kernel [out, into, 3, 3] and its bias."""
    weights[f"{name}.weight"] = torch.zeros(out, into, 3, 3)
    offset = torch.zeros(out)
    if bias:
        weights[f"{name}.bias"] = offset
    return weights[f"{name}.weight"], offset


def _block(weights: dict[str, Tensor], name: str) -> list[_Conv]:
    return [_conv(weights, f"{name}.conv.{part}", 64, 64) for part in (0, 2, 4)]


def _blur() -> Tensor:
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    return line[:, None] * line[None, :]


def _cut(convs: list[_Conv]) -> None:
    """Set the three convolutions of the block that turns fields into a picture.

    A value clamped to 0..1 is the difference of two ReLUs, one channel each.
    """
    (first, first_offset), (second, second_offset), (third, _) = convs
    inside, stripes = FIELDS.index("inside"), FIELDS.index("stripes")
    steep = 8 * DEPTH_PX / _SOFT_PX  # of cover over the field; an eighth of the picture's size
    pairs = [(0, inside, steep, 0.5 - steep), (2, stripes, _STRIPE_EDGE, 0.5 - _STRIPE_EDGE / 2)]
    pairs += [(4 + 2 * c, 1 + c, 1.0, 0.0) for c in range(3)]
    for place, field, slope, start in pairs:
        first[[place, place + 1], field, 1, 1] = slope
        first_offset[place], first_offset[place + 1] = start, start - 1
    for c in range(3):
        first[10 + c, 4 + c, 1, 1] = 1.0
        clamped = ((0, 1.0), (2, -STRIPE_DARKENS), (4 + 2 * c, 1.0))
        for place, factor in clamped:
            second[_SHAPE + c, [place, place + 1], 1, 1] = torch.tensor([factor, -factor])
        second_offset[_SHAPE + c] = -1.0
        second[_BEHIND + c, [0, 1, 10 + c], 1, 1] = torch.tensor([-1.0, 1.0, 1.0])
        second_offset[_BEHIND + c] = GROUND
        for place in (_SHAPE + c, _BEHIND + c):
            third[place, place, 1, 1] = 1.0
