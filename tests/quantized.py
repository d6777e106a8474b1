"""Random quantized layers of every scheme, each with its value by definition in float64.

Nothing here uses the code under test: tensors are made of random codes and scales, and the value is
written down element by element from the scheme's formula.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import torch

F8 = torch.float8_e4m3fn
H4 = np.array([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]], np.float64)
E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]


@dataclass
class Layer:
    """What a file stores of a layer, what its marker says, and what its weight is.

    `roundings`: how often the formula rounds in float32; 1 means correctly rounded.
    """

    sides: dict
    options: dict
    value: torch.Tensor
    roundings: int = 1
    junk: dict = field(default_factory=dict)


def marker(**options):
    """A layer marker as ComfyUI stores it."""
    return torch.tensor(list(json.dumps(options).encode()), dtype=torch.uint8)


def bytes_like(rng, shape, dtype=torch.int8):
    return torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8).view(dtype)


def finite_fp8(rng, shape, dtype=F8):
    """Random values with every exponent but those of NaN and infinity."""
    found = bytes_like(rng, shape, torch.uint8)
    return (found & (0xFB if dtype is F8 else 0x7B)).view(dtype)


def scales(rng, shape, low=1e-3):
    return torch.rand(shape, generator=rng) + low


def rotation(size):
    """The normalised regular Hadamard matrix, by its definition."""
    found = np.ones((1, 1))
    while len(found) < size:
        found = np.kron(H4, found)
    return torch.from_numpy(found) / size**0.5


def turned(rows, size):
    """W Hᵀ in groups of columns."""
    parts = rows.double().reshape(len(rows), -1, size)
    return (parts @ rotation(size).T).reshape(rows.shape)


def swizzled(blocks, dtype):
    """Block scales [rows, cols] in tiles of 128 × 4, padded with zeros; one element at a time."""
    rows, cols = blocks.shape
    wide = -(-cols // 4)
    out = torch.zeros(-(-rows // 128) * 128 * wide * 4, dtype=torch.uint8)
    for r in range(rows):
        for c in range(cols):
            tile = (r // 128) * wide + c // 4
            out[tile * 512 + (r % 32) * 16 + (r % 128 // 32) * 4 + c % 4] = blocks[r, c]
    return out.view(-1, wide * 4).view(dtype)


def nibbles(packed, low_first=True):
    """0 … 15 of every half byte [rows, 2 · bytes]."""
    whole = packed.view(torch.uint8).to(torch.int64)
    pair = (whole & 15, whole >> 4) if low_first else (whole >> 4, whole & 15)
    return torch.stack(pair, -1).reshape(len(packed), -1)


def fp8(rng, form="float8_e4m3fn", dtype=F8, by_row=False):
    weight, scale = finite_fp8(rng, (6, 20), dtype), scales(rng, (6, 1) if by_row else ())
    junk = {"input_scale": scales(rng, ())}
    value = weight.double() * scale.double()
    return Layer({"weight": weight, "weight_scale": scale}, {"format": form}, value, junk=junk)


def mxfp8(rng):
    weight = finite_fp8(rng, (160, 96))
    exponent = torch.randint(110, 140, (160, 3), generator=rng, dtype=torch.uint8)
    scale = 2.0 ** (exponent.double() - 127)
    value = (weight.double().view(160, 3, 32) * scale.unsqueeze(-1)).view(160, 96)
    sides = {"weight": weight, "weight_scale": swizzled(exponent, torch.uint8)}
    return Layer(sides, {"format": "mxfp8"}, value)


def nvfp4(rng, smooth=False):
    weight = bytes_like(rng, (48, 40), torch.uint8)
    block, tensor = finite_fp8(rng, (48, 5)), scales(rng, ())
    table = torch.tensor([*E2M1, *(-v for v in E2M1)], dtype=torch.float64)
    codes = table[nibbles(weight, low_first=False)].view(48, 5, 16)
    value = (codes * (block.double() * tensor.double()).unsqueeze(-1)).view(48, 80)
    sides = {"weight": weight, "weight_scale": swizzled(block.view(torch.uint8), F8)}
    sides["weight_scale_2"] = tensor
    if smooth:
        sides["pre_quant_scale"] = scales(rng, (80,)).bfloat16()
        value = value * sides["pre_quant_scale"].double()
    return Layer(sides, {"format": "nvfp4"}, value, roundings=3)


def int8(rng, by_row=True):
    weight, scale = bytes_like(rng, (6, 40)), scales(rng, (6, 1) if by_row else ())
    sides = {"weight": weight, "weight_scale": scale}
    return Layer(sides, {"format": "int8_tensorwise"}, weight.double() * scale.double())


def int8_convrot(rng, size=64):
    weight, scale = bytes_like(rng, (6, 2 * size)), scales(rng, (6, 1))
    options = {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": size}
    sides = {"weight": weight, "weight_scale": scale}
    return Layer(sides, options, turned(weight, size) * scale.double())


def convrot_w4a4(rng, size=16):
    packed, scale = bytes_like(rng, (5, size)), scales(rng, (5,))
    codes = nibbles(packed)
    whole = torch.where(codes > 7, codes - 16, codes)
    options = {"format": "convrot_w4a4", "params": {"convrot_groupsize": size}}
    value = turned(whole, size) * scale.double()[:, None]
    return Layer({"weight": packed, "weight_scale": scale}, options, value)


def awq_w4a16(rng):
    packed = bytes_like(rng, (6, 32))
    scale, zeros = scales(rng, (4, 6)).bfloat16(), scales(rng, (4, 6), -0.5).bfloat16()
    codes = nibbles(packed).double().view(6, 4, 16)
    value = (codes - 8) * scale.double().T[..., None] + zeros.double().T[..., None]
    sides = {"weight": packed, "weight_scale": scale, "weight_zeros": zeros}
    # the sum may cancel, so what is compared is the product's rounding as well
    return Layer(sides, {"format": "awq_w4a16", "group_size": 16}, value.view(6, 64), roundings=2)


def asym_w4a8(rng, kind="codebook", size=16, group=16):
    rows, cols = 5, 4 * max(size, group, 16)
    bits = 6 if kind == "six bits" else 4
    codes = torch.randint(0, 1 << bits, (rows, cols), generator=rng)
    packed = (codes[:, ::2] & 15) | ((codes[:, 1::2] & 15) << 4)
    if bits == 6:
        upper = sum((codes[:, j::4] >> 4) << (2 * j) for j in range(4))
        packed = torch.cat([packed, upper], 1)
    rel = (torch.rand((rows, cols // group), generator=rng) * 150 + 20).to(F8)
    channel = scales(rng, (rows,))
    levels = torch.arange(1 << bits, dtype=torch.float64) - (1 << (bits - 1))
    sides = {"weight": packed.to(torch.uint8).view(torch.int8), "weight_s_channel": channel}
    sides["weight_s_rel"] = rel.view(torch.uint8) if kind == "plain" else rel
    if kind == "codebook":
        book = torch.sort(torch.randn(16, generator=rng)).values
        sides["weight_codebook"], levels = book, book.double()
    factor = rel.double().repeat_interleave(group, 1)
    grid = (levels[codes].float() * factor.float()).round().clamp(-127, 127).double()
    value = grid * channel.double()[:, None]
    if kind == "correction":
        shift = torch.randn((cols // group, rows), generator=rng)
        sides["weight_correction"] = shift
        value = (value.float().double() + shift.T.double().repeat_interleave(group, 1)).float()
    options = {"format": "asym_w4a8_int8", "group_size": group, "convrot_groupsize": size}
    return Layer(sides, options | {"convrot": True}, turned(value, size))


BUILDERS = {
    "fp8": fp8,
    "fp8 e5m2": lambda rng: fp8(rng, "float8_e5m2", torch.float8_e5m2),
    "fp8 by row": lambda rng: fp8(rng, by_row=True),
    "mxfp8": mxfp8,
    "nvfp4": nvfp4,
    "nvfp4 smoothed": lambda rng: nvfp4(rng, smooth=True),
    "int8": int8,
    "int8 by tensor": lambda rng: int8(rng, by_row=False),
    "int8 rotated": int8_convrot,
    "convrot_w4a4": convrot_w4a4,
    "awq_w4a16": awq_w4a16,
    "asym": asym_w4a8,
    "asym plain": lambda rng: asym_w4a8(rng, "plain", size=64),
    "asym corrected": lambda rng: asym_w4a8(rng, "correction"),
    "asym small groups": lambda rng: asym_w4a8(rng, "plain", size=64, group=4),
    "asym large groups": lambda rng: asym_w4a8(rng, "codebook", size=16, group=48),
    "asym six bits": lambda rng: asym_w4a8(rng, "six bits"),
}


def expert_stack(rng, build, experts):
    """`experts` layers of one scheme in one tensor; the codebook is that of all of them."""
    layers = [build(rng) for _ in range(experts)]
    sides = {name: torch.stack([one.sides[name] for one in layers]) for name in layers[0].sides}
    values = torch.stack([one.value for one in layers])
    options = layers[0].options | {"num_experts": experts}
    return Layer(sides, options, values, layers[0].roundings)


def close(got, layer):
    """Whether float32 `got` is the layer's value: exactly, or but for the formula's roundings."""
    if layer.roundings == 1:
        return torch.equal(got, layer.value.float())
    slack = layer.roundings * 2.0**-24
    scale = (
        layer.value.abs().amax() if layer.options["format"] == "awq_w4a16" else layer.value.abs()
    )
    return bool(((got.double() - layer.value).abs() <= slack * scale + 1e-45).all())
