"""A row's weight on each tensor: `double_blocks.0-9=0.5, *attn*=0, default=1`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import RecipeError

__all__ = ["MAX_LAYER_RULES", "LayerRule", "LayerWeights", "parse_layers"]

MAX_LAYER_RULES = 256
_FIX = "Write pattern=weight pairs, e.g. double_blocks.0-9=0.5, *attn*=0, default=1."
_RANGE = re.compile(r"(\d+)-(\d+)\Z")


@dataclass(frozen=True)
class LayerRule:
    """One `pattern=weight` pair.

    A pattern with `*`, `?` or `[` is a glob on the whole key or block id. Any other pattern is a
    dotted path that a block id or key starts with, whole parts only; a part `0-9` stands for that
    range of numbers, ends included.
    """

    pattern: str
    weight: float

    def matches(self, key: str, block: str) -> bool:
        """Whether the rule speaks of this key, which lies in this block."""
        if any(char in self.pattern for char in "*?["):
            return fnmatchcase(key, self.pattern) or fnmatchcase(block, self.pattern)
        parts = self.pattern.split(".")
        return _starts_with(block, parts) or _starts_with(key, parts)


@dataclass(frozen=True)
class LayerWeights:
    """Rules in order: the first match wins; without a match, `default`, wherever it stands."""

    rules: tuple[LayerRule, ...] = ()
    default: float = 1.0

    def weight(self, key: str, block: str) -> float:
        """The factor on alpha for this key."""
        for rule in self.rules:
            if rule.matches(key, block):
                return rule.weight
        return self.default

    def unused(self, keys: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        """Patterns that match none of the (key, block) pairs: most likely typing errors."""
        pairs = tuple(keys)
        return tuple(r.pattern for r in self.rules if not any(r.matches(k, b) for k, b in pairs))


def parse_layers(text: str) -> LayerWeights:
    """Read comma or newline separated `pattern=weight` pairs; empty text is weight 1 everywhere.

    Raises `RecipeError` that names the pair.
    """
    rules: list[LayerRule] = []
    default = 1.0
    for piece in re.split(r"[,\n;]", text):
        if not piece.strip():
            continue
        rule = _parse_rule(piece.strip())
        if rule.pattern == "default":
            default = rule.weight
        else:
            rules.append(rule)
    if len(rules) > MAX_LAYER_RULES:
        raise RecipeError(
            "layers: too many pairs",
            expected=f"at most {MAX_LAYER_RULES}",
            received=len(rules),
            fix="Join neighbours with a range or a glob.",
        )
    return LayerWeights(tuple(rules), default)


def _parse_rule(piece: str) -> LayerRule:
    pattern, separator, number = piece.rpartition("=")
    pattern = pattern.strip()
    if not separator or not pattern:
        raise RecipeError(f'layers: "{piece[:80]}" is not a pair', fix=_FIX)
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise RecipeError(
            f'layers: weight of "{pattern[:80]}"',
            expected="a finite number",
            received=repr(number.strip()[:40]),
            fix=_FIX,
        )
    for part in pattern.split("."):
        found = _RANGE.match(part)
        if found and int(found[1]) > int(found[2]):
            raise RecipeError(
                f'layers: range "{part}" runs backwards', fix=f"Write {found[2]}-{found[1]}."
            )
    return LayerRule(pattern, weight)


def _starts_with(name: str, parts: list[str]) -> bool:
    names = name.split(".")
    return len(names) >= len(parts) and all(map(_part_matches, parts, names))


def _part_matches(part: str, name: str) -> bool:
    found = _RANGE.match(part)
    if found and name.isdigit():
        return int(found[1]) <= int(name) <= int(found[2])
    return part == name
