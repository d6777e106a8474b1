"""The tensors of a LoRA, and the change to a weight that they describe.

With W flattened to [rows, cols] by its first axis and scale = alpha / rank (1 without alpha):

- LoRA: δ = scale · up · down (Hu et al., arXiv:2106.09685); a Tucker core `mid` goes into `down`.
- LoHa: δ = scale · (a₁ b₁) ∘ (a₂ b₂) (Hyeon-Woo et al., arXiv:2108.06098).
- LoKr: δ = scale · w₁ ⊗ w₂, each of which may be a product itself (Yeh et al., arXiv:2309.14859).
- diff: δ is stored as it is.

DoRA sets the lengths of what these give: see `decomposed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from ...io.source import Source
from ...shapes import Float32

__all__ = ["Delta", "Module", "bias_delta", "delta_of", "modules", "refusal", "shape_of"]

Rows = Callable[[int, int], Float32[Tensor, "rows cols"]]
"""(first, last) → those rows of a change."""

_PARTS = {
    "lora_up.weight": "up",
    "lora_B.weight": "up",
    "lora_B.default.weight": "up",
    "lora.up.weight": "up",
    "lora_down.weight": "down",
    "lora_A.weight": "down",
    "lora_A.default.weight": "down",
    "lora.down.weight": "down",
    "lora_mid.weight": "mid",
    "alpha": "alpha",
    "lora_alpha": "alpha",
    "diff": "diff",
    "diff_b": "diff_b",
    "dora_scale": "dora",
    **dict.fromkeys(
        (f"lora_magnitude_vector{end}" for end in ("", ".weight", ".default", ".default.weight")),
        "magnitude",
    ),
    **{f"hada_{name}": name for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{name}": f"kr_{name}" for name in ("w1", "w2", "w1_a", "w1_b", "w2_a", "w2_b", "t2")},
}
_SUFFIX = re.compile(r"^(.+)\.(" + "|".join(re.escape(p) for p in _PARTS) + r")$")
_OLD_DIFFUSERS = re.compile(r"^(.+)\.processor\.(to_[a-z]+)_lora\.(up|down)\.weight$")
_REFUSED = (
    (r"\.set_weight$", "set_weight (whole weights)"),
    (r"\.(?:oft_blocks|oft_diag|boft_\w+)$", "OFT"),
    (r"\.(?:a1|a2|b1|b2)\.weight$", "GLoRA"),
    (r"\.(?:w_norm|b_norm)$", "trained norms (LyCORIS)"),
)


@dataclass(frozen=True)
class Module:
    """One adapted layer: its name in the file, and part → key of the file ("up", "down", …)."""

    name: str
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def biases(self) -> bool:
        """Whether it changes the layer's bias too."""
        return "diff_b" in self.parts


def modules(keys: Iterable[str]) -> dict[str, Module]:
    """The adapted layers of a LoRA file, by name in the order of the file."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if match := _SUFFIX.match(key):
            found.setdefault(match[1], {})[_PARTS[match[2]]] = key
        elif match := _OLD_DIFFUSERS.match(key):
            layer = "to_out.0" if match[2] == "to_out" else match[2]
            found.setdefault(f"{match[1]}.{layer}", {})[match[3]] = key
    return {name: Module(name, parts) for name, parts in found.items()}


def refusal(keys: Iterable[str]) -> str:
    """The name of a kind of adapter that is not read here ("OFT"), or ""."""
    keys = list(keys)
    for pattern, name in _REFUSED:
        if any(re.search(pattern, key) for key in keys):
            return name
    return ""


@dataclass(frozen=True)
class Delta:
    """The change of one layer: its shape flattened to 2-D, and how to compute rows of it."""

    shape: tuple[int, int]
    rows: Rows

    def read(self, start: int, stop: int) -> Float32[Tensor, "n"]:
        """Elements [start, stop) of the flattened change; only their rows are computed."""
        cols = self.shape[1]
        first, last = start // cols, -(-stop // cols)
        flat = self.rows(first, last).reshape(-1)
        return flat[start - first * cols : stop - first * cols]


def shape_of(module: Module, source: Source) -> tuple[int, int] | None:
    """(rows, cols) of a module's change, from shapes alone; None where its parts are incomplete."""
    shapes = {part: source.entries[key].shape for part, key in module.parts.items()}
    if {"up", "down"} <= shapes.keys():
        size = prod(shapes["mid"][2:]) if "mid" in shapes else 1
        return shapes["up"][0], prod(shapes["down"][1:]) * size
    if {"w1_a", "w1_b", "w2_a", "w2_b"} <= shapes.keys():
        if "t1" in shapes:
            return shapes["w1_a"][1], shapes["w1_b"][1] * prod(shapes["t1"][2:])
        return shapes["w1_a"][0], prod(shapes["w1_b"][1:])
    first, second = _kron_side(shapes, "kr_w1"), _kron_side(shapes, "kr_w2")
    if first and second:
        return first[0] * second[0], first[1] * second[1]
    if "diff" in shapes:
        return shapes["diff"][0], prod(shapes["diff"][1:])
    return None


def _kron_side(shapes: Mapping[str, tuple[int, ...]], side: str) -> tuple[int, int] | None:
    if side in shapes:
        return shapes[side][0], prod(shapes[side][1:])
    if not {f"{side}_a", f"{side}_b"} <= shapes.keys():
        return None
    if "kr_t2" in shapes and side == "kr_w2":
        return shapes[f"{side}_a"][1], shapes[f"{side}_b"][1] * prod(shapes["kr_t2"][2:])
    return shapes[f"{side}_a"][0], prod(shapes[f"{side}_b"][1:])


def delta_of(module: Module, source: Source) -> Delta:
    """The change of a module of which `shape_of` knows the shape; reads its factors."""
    shape = shape_of(module, source)
    if shape is None:
        raise ValueError(f"{module.name} is incomplete")
    parts = {part: source.read(key) for part, key in module.parts.items()}
    if "up" in parts:
        return Delta(shape, _product(parts))
    if "w1_a" in parts:
        return Delta(shape, _hadamard(parts))
    if "diff" in parts:
        whole = parts["diff"].reshape(shape)
        return Delta(shape, lambda first, last: whole[first:last])
    return Delta(shape, _kronecker(parts))


def bias_delta(module: Module, source: Source) -> Delta:
    """The change of a module's bias."""
    whole = source.read(module.parts["diff_b"]).reshape(-1, 1)
    return Delta((len(whole), 1), lambda first, last: whole[first:last])


def _scale(parts: Mapping[str, Tensor], rank: int) -> float:
    return float(parts["alpha"]) / rank if "alpha" in parts and rank else 1.0


def _tucker(core: Tensor, b: Tensor) -> Float32[Tensor, "rank cols"]:
    """[i, j, …] core times b [j, r] over j → [i, r · …]."""
    flat = core.flatten(2)  # [i, j, k]
    return torch.einsum("ijk,jr->irk", flat, b).flatten(1)


def _product(parts: Mapping[str, Tensor]) -> Rows:
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    scale = _scale(parts, down.shape[0])
    right = _tucker(parts["mid"], down) if "mid" in parts else down
    return lambda first, last: (up[first:last] @ right) * scale


def _hadamard(parts: Mapping[str, Tensor]) -> Rows:
    sides = []
    for n in ("1", "2"):
        a, b = parts[f"w{n}_a"], parts[f"w{n}_b"]
        if f"t{n}" in parts:
            sides.append((a.T, _tucker(parts[f"t{n}"], b)))
        else:
            sides.append((a, b.flatten(1)))
    scale = _scale(parts, parts["w1_b"].shape[0])
    (a1, b1), (a2, b2) = sides
    return lambda first, last: (a1[first:last] @ b1) * (a2[first:last] @ b2) * scale


def _kronecker(parts: Mapping[str, Tensor]) -> Rows:
    rank = 0
    sides = []
    for side in ("kr_w1", "kr_w2"):
        if side in parts:
            sides.append(parts[side].flatten(1))
            continue
        a, b = parts[f"{side}_a"], parts[f"{side}_b"]
        rank = b.shape[0]
        if side == "kr_w2" and "kr_t2" in parts:
            sides.append(a.T @ _tucker(parts["kr_t2"], b))
        else:
            sides.append(a @ b.flatten(1))
    outer, inner = sides
    scale = _scale(parts, rank)
    size = inner.shape[0]

    def rows(first: int, last: int) -> Tensor:
        places = torch.arange(first, last)
        left, right = outer[places // size], inner[places % size]
        return torch.einsum("na,nb->nab", left, right).flatten(1) * scale

    return rows
