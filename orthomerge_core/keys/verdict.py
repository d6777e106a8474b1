"""The result of alignment in words: one verdict per model and a few findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..io.source import Entry, Source
from .architecture import Architecture
from .channels import channel_words
from .match import Match
from .other_files import what_else

__all__ = ["dtype_words", "findings", "quantisation_words", "verdict"]

_TOGGLE_WORDS = {
    "fix_prefixes": "prefix taken off",
    "fix_norm_names": "norm weights renamed",
    "remap_diffusers": "diffusers names translated",
    "dequantise": "quantized layers read as float32",
    "aliases": "other spelling of the same keys",
}


def verdict(
    base: Architecture, found: Match, source: Source, shapes: Mapping[str, tuple[int, ...]]
) -> str:
    """The one sentence that says how a model fits; without a full stop."""
    if not found.ok:
        return _misfit(base, found, source, shapes)
    variant = _variant(base, found, shapes)
    if variant:
        return variant
    total = len(shapes)
    gaps = total - len(found.segments)
    if not gaps:
        return "same architecture as the base"
    be = "is" if gaps == 1 else "are"
    return f"same architecture as the base, but {gaps} of its {total} tensors {be} not usable here"


def _variant(base: Architecture, found: Match, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A model that differs in its input channels only."""
    key = base.input_key
    other, own = found.channels.get(key, found.mismatched.get(key)), shapes.get(key)
    if other is None or own is None or len(other) < 2 or len(own) < 2:
        return ""
    if other[0] != own[0] or other[2:] != own[2:]:
        return ""
    told = f"; {channel_words(own[1], other[1])}" if key in found.channels else ""
    name = base.variants.get(other[1], "variant")
    if other[1] in base.variants or own[1] not in base.variants:
        return f"{name}: {other[1]} input channels, base has {own[1]}{told}"
    base_name = base.variants[own[1]]
    return f"standard model: {other[1]} input channels, base is the {base_name} with {own[1]}{told}"


def _misfit(
    base: Architecture, found: Match, source: Source, shapes: Mapping[str, tuple[int, ...]]
) -> str:
    words = what_else(source.entries)
    if found.depth:
        return (
            f"another depth of the same architecture: {found.depth}. To apply its change to some "
            f"blocks, say which of its blocks are which of the base's in block_map"
        )
    if found.width:
        return f"another width of the same architecture: {found.width}"
    if found.unread:
        count = len(found.unread)
        return f"quantized: {count} of its layers were not read, since dequantise is switched off"
    own = found.view.architecture
    if words and own.name == "generic":
        return words
    if own.name not in (base.name, "generic"):
        return f"other architecture: {own.label}, base is {base.label}"
    told = source.metadata.get("general.architecture")
    if told and own.name == "generic":
        return f"other architecture: {told} by its GGUF header, base is {base.label}"
    if len(found.mismatched) > len(found.segments):
        key = next(iter(found.mismatched))
        here, there = _shape(found.mismatched[key]), _shape(shapes[key])
        return f"other size of the same architecture: {key} is {here}, base has {there}"
    if found.unreadable:
        dtype = next(iter(found.unreadable.values()))
        return f"stored as {dtype} without scales, so that its numbers are not weights"
    share = found.coverage_frac
    return f"unknown architecture: it holds {share:.0%} of the base's tensors ({base.label})"


def findings(
    found: Match, shapes: Mapping[str, tuple[int, ...]], source: Source
) -> tuple[str, ...]:
    """Full sentences about everything that differs; one line per kind, however many keys it has.

    Of a misfit only what was left out and repaired: its verdict says the rest.
    """
    lines = [
        f"{_count(keys)} left out: {reason} ({_some(keys)})."
        for reason, keys in found.view.left_out.items()
    ]
    repaired = [_TOGGLE_WORDS[r] for r in found.repairs if r in _TOGGLE_WORDS]
    if repaired:
        lines.append(f"Repaired while reading: {', '.join(repaired)}.")
    if not found.ok:
        return tuple(lines)
    naming = found.view.architecture.diffusers
    if found.view.diffusers and naming and naming.note and found.missing:
        lines.append(f"Of the diffusers names: {naming.note}.")
    if found.mismatched:
        lines.append(_mismatches(found.mismatched, shapes))
    if found.unreadable:
        lines.append(
            f"{_count(found.unreadable)} no weights ({_some(list(found.unreadable))}): stored as "
            f"{', '.join(sorted(set(found.unreadable.values())))}; the base's are used."
        )
    if found.missing:
        lines.append(f"{_count(found.missing)} missing ({_some(found.missing)}): no change there.")
    if found.extra:
        lines.append(
            f"{_count(found.extra)} not in the base ({_some(found.extra)}): they are not merged."
        )
    if source.dropped:
        lines.append(f"{_count(source.dropped)} no weights but serve the quantized layers.")
    return tuple(lines)


def _mismatches(found: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> str:
    key = next(iter(found))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    have = "has" if len(found) == 1 else "have"
    return (
        f"{len(found)} tensor{'s' if len(found) > 1 else ''} {have} another shape than the base's: "
        f"{key} is {_shape(found[key])}, base has {_shape(shapes[key])}{more}; the base's are used."
    )


def _count(found: Sequence[str] | Mapping[str, object]) -> str:
    return "1 tensor is" if len(found) == 1 else f"{len(found)} tensors are"


def _some(keys: Sequence[str], limit: int = 3) -> str:
    return ", ".join(keys[:limit]) + (", …" if len(keys) > limit else "")


def _shape(shape: Sequence[int]) -> str:
    return "[" + ", ".join(str(n) for n in shape) + "]"


def dtype_words(entries: Sequence[Entry]) -> str:
    """The stored dtypes by share of elements: "BF16", or "F8_E4M3 98 %, BF16 2 %"."""
    sizes: dict[str, int] = {}
    for entry in entries:
        sizes[entry.dtype] = sizes.get(entry.dtype, 0) + max(entry.numel, 1)
    total = sum(sizes.values())
    if len(sizes) <= 1:
        return next(iter(sizes), "none")
    ranked = sorted(sizes.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {_percent(size / total)}" for name, size in ranked[:3])


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.01 else f"{share * 100:.0f} %"


def quantisation_words(entries: Sequence[Entry]) -> str:
    """The quantization schemes and how many layers have each; "none" for plain tensors."""
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.quant is not None:
            counts[entry.quant] = counts.get(entry.quant, 0) + 1
    words = [f"{name} ({count} layers)" for name, count in sorted(counts.items())]
    return ", ".join(words) or "none"
