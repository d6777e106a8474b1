"""Aligns text encoders and VAEs with the base's: usable, absent, or of another size."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..io.source import Source
from .aligned import PartReport, Segment
from .architecture import DiffusersMap
from .components import component_label, component_of, is_schedule
from .match import fit
from .remap import Piece, remap

__all__ = ["TO_OPENCLIP", "PartMatch", "base_parts", "match_parts"]


@dataclass(frozen=True)
class PartMatch:
    """A model's components over the base's. `segments`: canonical key → where its elements lie."""

    segments: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)
    reports: tuple[PartReport, ...] = ()


def base_parts(parts: Mapping[str, Piece], source: Source) -> tuple[list[str], list[str]]:
    """The base's canonical keys outside the diffusion model: those to merge, and those to carry.

    Buffers, empty tensors and tensors that are not floats are copied unchanged.
    """
    keys: list[str] = []
    passthrough: list[str] = []
    for name, piece in parts.items():
        entries = [source.entries[s.key] for s in piece.segments]
        weights = all(e.is_float and e.numel for e in entries) and not is_schedule(name)
        (keys if weights else passthrough).append(name)
    return keys, passthrough


def match_parts(
    wanted: Mapping[str, tuple[int, ...]], parts: Mapping[str, Piece], source: Source
) -> PartMatch:
    """Lay a model's `parts` over the base's `wanted` keys (key → shape), by component."""
    segments: dict[str, tuple[Segment, ...]] = {}
    reports = []
    ours = _by_component(wanted)
    theirs = _by_component(parts)
    for name in dict.fromkeys((*ours, *theirs)):
        keys = ours.get(name, ())
        held: Mapping[str, Piece] = {k: parts[k] for k in theirs.get(name, ())}
        if not keys:
            words = "the base has none, so it is not merged"
            reports.append(PartReport(name, component_label(name), len(held), 0, words=words))
            continue
        held = _in_form_of(keys, held)
        found, odd = _lay({k: wanted[k] for k in keys}, held, source)
        segments |= found
        reports.append(_report(name, len(keys), len(held), len(found), odd))
    return PartMatch(segments, tuple(reports))


def _by_component(keys: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(component_of(key), []).append(key)
    return found


def _lay(
    wanted: Mapping[str, tuple[int, ...]], held: Mapping[str, Piece], source: Source
) -> tuple[dict[str, tuple[Segment, ...]], int]:
    found: dict[str, tuple[Segment, ...]] = {}
    odd = 0
    for key, shape in wanted.items():
        piece = held.get(key)
        if piece is None:
            continue
        entries = [source.entries[s.key] for s in piece.segments]
        fitted = fit(piece, shape, entries[0].padding) if all(e.is_float for e in entries) else None
        if fitted is None:
            odd += 1
        else:
            found[key] = fitted
    return found, odd


def _report(name: str, total: int, held: int, matched: int, odd: int) -> PartReport:
    missing = total - matched - odd
    if not held:
        words = "not in this file: no change there"
    elif not matched:
        words = "another size than the base's: no change there"
    elif matched < total:
        words = f"{total - matched} of the base's {total} tensors are not usable here"
    else:
        words = "as in the base"
    return PartReport(name, component_label(name), held, matched, missing, odd, words)


# OpenCLIP and Hugging Face names of one CLIP encoder. `text_projection` is transposed between them.
_LAYER = r"\.text_model\.encoder\.layers\.(\d+)\."
_BLOCK = r".transformer.resblocks.\1."
TO_OPENCLIP = DiffusersMap(
    marker=_LAYER,
    renames=(
        (r"\.text_model\.embeddings\.position_embedding\.weight$", ".positional_embedding"),
        (r"\.text_model\.embeddings\.token_embedding\.", ".token_embedding."),
        (r"\.text_model\.final_layer_norm\.", ".ln_final."),
        (_LAYER + r"layer_norm([12])\.", _BLOCK + r"ln_\2."),
        (_LAYER + r"mlp\.fc1\.", _BLOCK + "mlp.c_fc."),
        (_LAYER + r"mlp\.fc2\.", _BLOCK + "mlp.c_proj."),
        (_LAYER + r"self_attn\.out_proj\.", _BLOCK + "attn.out_proj."),
    ),
    joins={
        rf"\1.transformer.resblocks.\2.attn.in_proj_{kind}": [
            rf"^(.*){_LAYER}self_attn\.{x}_proj\.{kind}$" for x in "qkv"
        ]
        for kind in ("weight", "bias")
    },
)
_BACK = (
    (r"\.positional_embedding$", ".text_model.embeddings.position_embedding.weight"),
    (r"\.token_embedding\.", ".text_model.embeddings.token_embedding."),
    (r"\.ln_final\.", ".text_model.final_layer_norm."),
    (
        r"\.transformer\.resblocks\.(\d+)\.ln_([12])\.",
        r".text_model.encoder.layers.\1.layer_norm\2.",
    ),
    (r"\.transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r".text_model.encoder.layers.\1.mlp.fc1."),
    (r"\.transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r".text_model.encoder.layers.\1.mlp.fc2."),
    (
        r"\.transformer\.resblocks\.(\d+)\.attn\.out_",
        r".text_model.encoder.layers.\1.self_attn.out_",
    ),
)
_JOINED = re.compile(r"(.*)\.transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$")


def _in_form_of(keys: Collection[str], held: Mapping[str, Piece]) -> Mapping[str, Piece]:
    """A CLIP encoder's pieces under the names that the base uses: OpenCLIP's or Hugging Face's."""
    base_open = any(".resblocks." in key for key in keys)
    held_open = any(".resblocks." in key for key in held)
    if not held or base_open == held_open:
        return held
    if base_open:
        return remap(TO_OPENCLIP, held)[0]
    return _to_huggingface(held)


def _to_huggingface(held: Mapping[str, Piece]) -> dict[str, Piece]:
    """OpenCLIP's names to Hugging Face's; the stacked q, k and v become thirds of the rows."""
    found: dict[str, Piece] = {}
    for key, piece in held.items():
        joined = _JOINED.match(key)
        if joined and piece.shape[0] % 3 == 0:
            for name, part in zip("qkv", _thirds(piece), strict=True):
                layer = f"{joined[1]}.text_model.encoder.layers.{joined[2]}"
                found[f"{layer}.self_attn.{name}_proj.{joined[3]}"] = part
            continue
        for pattern, replacement in _BACK:
            key = re.sub(pattern, replacement, key)
        found[key] = piece
    return found


def _thirds(piece: Piece) -> Iterable[Piece]:
    (segment,) = piece.segments
    size = (segment.stop - segment.start) // 3
    shape = (piece.shape[0] // 3, *piece.shape[1:])
    for start in range(segment.start, segment.stop, size):
        yield Piece(shape, (Segment(segment.key, start, start + size),))
