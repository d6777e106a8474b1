"""Blocks of Stable Diffusion's U-Nets as block merges name them: BASE, IN00–IN11, M00, OUT00–OUT11.

SDXL has IN00–IN08 and OUT00–OUT08. `BASE` stands for the text encoders. `IN00` includes the
embeddings of time and label, the last `OUT` includes the output layer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "NUMBERS",
    "PRESETS",
    "SdBlocks",
    "block_name",
    "expanded",
    "last_output_block",
    "number_count",
    "sd_blocks",
]

NUMBERS = {26: 12, 25: 12, 20: 9, 19: 9}
"""How many pasted numbers are read → how many IN and OUT blocks the model then has."""

_ALIAS = re.compile(
    r"(BASE)|(M00|MID(?:00)?)|(IN|OUT)(\d\d?)(?:-(?:IN|OUT)?(\d\d?))?", re.IGNORECASE
)
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBERS = re.compile(rf"\s*{_NUMBER}(?:[\s,;]+{_NUMBER})+[\s,;]*\Z")
_UNET = re.compile(r"(?:^|\.)(input_blocks|output_blocks)\.(\d+)(?:\.|$)")
_FIRST = ("time_embed", "label_emb")


@dataclass(frozen=True)
class SdBlocks:
    """A pattern of block names: `kind` is BASE, IN, M or OUT, `low` and `high` are included."""

    kind: str
    low: int = 0
    high: int = 0

    def holds(self, block: str, last: int | None) -> bool:
        """Whether a block id belongs to it; `last`: the number of the model's last output block."""
        name = block_name(block, last)
        if name is None or name[0] != self.kind:
            return False
        return self.low <= name[1] <= self.high


def sd_blocks(pattern: str) -> SdBlocks | None:
    """The blocks that a pattern such as `IN00-05`, `M00` or `BASE` names; None for others."""
    found = _ALIAS.fullmatch(pattern)
    if not found:
        return None
    if found[1]:
        return SdBlocks("BASE")
    if found[2]:
        return SdBlocks("M")
    low = int(found[4])
    return SdBlocks(found[3].upper(), low, int(found[5]) if found[5] else low)


def block_name(block: str, last: int | None) -> tuple[str, int] | None:
    """(kind, number) of a block id: ("IN", 4) for `input_blocks.4`; None for other blocks."""
    if block.startswith("text_encoder."):
        return ("BASE", 0)
    found = _UNET.search(block)
    if found:
        return ("IN" if found[1] == "input_blocks" else "OUT", int(found[2]))
    part = block.split(".", 1)[0]
    if part == "middle_block":
        return ("M", 0)
    if part == "out" and last is not None:
        return ("OUT", last)
    return ("IN", 0) if part in _FIRST and last is not None else None


def last_output_block(blocks: Iterable[str]) -> int | None:
    """The number of a U-Net's last output block; None for other models."""
    numbers = [int(m[2]) for b in blocks if (m := _UNET.search(b)) and m[1] == "output_blocks"]
    return max(numbers, default=None)


def _v(t: float) -> float:
    return abs(2.0 * t - 1.0)


PRESETS = {
    "GRAD_V": _v,
    "GRAD_A": lambda t: 1.0 - _v(t),
    "FLAT_25": lambda _: 0.25,
    "FLAT_50": lambda _: 0.5,
    "FLAT_75": lambda _: 0.75,
    "SMOOTHSTEP": lambda t: t * t * (3.0 - 2.0 * t),
    "REVERSE_SMOOTHSTEP": lambda t: 1.0 - t * t * (3.0 - 2.0 * t),
    "COSINE": lambda t: (1.0 + math.cos(math.pi * t)) / 2.0,
    "REVERSE_COSINE": lambda t: (1.0 - math.cos(math.pi * t)) / 2.0,
}
"""Curves of block merges: the weight at place t, 0 at IN00, 0.5 at M00 and 1 at the last OUT."""


def expanded(text: str, last: int | None = None) -> str:
    """Pasted numbers and the name of a preset as `pattern=weight` pairs; other text as it is.

    26 numbers are BASE, IN00–IN11, M00, OUT00–OUT11; 20 are those of SDXL; 25 and 19 have no BASE.
    A preset leaves BASE out, so that text encoders keep their own alpha. `last`: see `block_name`.
    """
    if _NUMBERS.match(text):
        values = _numbers_in(text)
        size = NUMBERS.get(len(values))
        if size is None:
            return text
        names = [*(["BASE"] if len(values) in (26, 20) else []), *_names(size)]
        return ", ".join(f"{n}={v}" for n, v in zip(names, values, strict=True))
    curve = PRESETS.get(text.strip().upper().replace("-", "_"))
    if curve is None:
        return text
    names = _names(12 if last is None else last + 1)
    places = len(names) - 1
    return ", ".join(f"{n}={round(curve(i / places), 4):g}" for i, n in enumerate(names))


def number_count(text: str) -> int:
    """How many numbers a text is that holds nothing else; 0 for any other text."""
    return len(_numbers_in(text)) if _NUMBERS.match(text) else 0


def _numbers_in(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,;]+", text.strip()) if part]


def _names(size: int) -> list[str]:
    ins, outs = ([f"{kind}{i:02d}" for i in range(size)] for kind in ("IN", "OUT"))
    return [*ins, "M00", *outs]
