"""Aligns models with their base: canonical keys, repairs while reading, and a report per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import CompatibilityError
from ..io.source import Source
from ..progress import Progress
from .aligned import AlignedModel, AlignedSet
from .architecture import Architecture
from .axes import with_axes
from .depth import apply_block_map, depth_words, parse_block_map, width_words
from .duplicates import mark_duplicates
from .known import get_architecture
from .laid import laid_base, laid_lora, laid_model
from .lora.source import is_lora
from .markers import is_buffer, is_marker
from .match import Match, match
from .normalize import OUTSIDE_KEYS, View, normalize_shapes
from .other_files import no_base, what_else
from .padding import without_padding
from .parts import base_parts
from .prefixes import without_wrappers
from .remap import Piece, whole
from .setspec import ModelSpec, Repairs

__all__ = ["align"]


def align(
    base: Source,
    models: Sequence[tuple[ModelSpec | str, Source]],
    architecture: str = "auto",
    repairs: Repairs | None = None,
    *,
    components: bool = True,
    find_duplicates: bool = True,
    progress: Progress | None = None,
) -> AlignedSet:
    """Lay `models` (name or spec, source) over `base`; reads samples only, to find duplicates.

    A model of another architecture, or with less than half of the base's keys, goes to `skipped`
    with its report, or raises `CompatibilityError` (all misfits in one message) where
    `repairs.skip_misfits` is off. `architecture`: a name of `keys.known`, or "auto"; "generic" lays
    anything over anything that shares half of its keys. `components`: take the base's text encoders
    and VAE too; whether a model fits is decided by its diffusion model alone. `find_duplicates`:
    compare models that agree in every sampled element to the end (reads only those).
    """
    repairs = repairs or Repairs()
    view = normalize_shapes(_shapes(base), repairs, components=components)
    known = view.architecture if architecture == "auto" else get_architecture(architecture)
    keys, passthrough = _split_base(base, view)
    view = _with_axes(base, view, known, models, repairs)
    found = _match_all(view, known, models, repairs, (keys, passthrough), components=components)
    sources = [source for _, source in models]
    cut = without_padding(base, view, list(zip(sources, found, strict=True)))
    if cut is not view:
        view = cut
        found = _match_all(cut, known, models, repairs, (keys, passthrough), components=components)
    beside, kept = base_parts(view.parts, base)
    outside = _outside(base, view) if beside else {}
    pieces = {**view.pieces, **view.parts, **outside}
    passthrough = (*passthrough, *kept, *outside)
    shapes = {k: pieces[k].shape for k in (*keys, *beside, *passthrough)}
    left = {
        why: found for why, found in view.left_out.items() if why != OUTSIDE_KEYS or not outside
    }
    whole_view = replace(view, pieces=pieces, left_out=left)
    own = laid_base(base, whole_view, known, (*keys, *beside), passthrough)
    ours, others = shapes_of(keys, shapes), shapes_of(beside, shapes)
    laid = [
        laid_lora(spec, source, own, known, ours | others)
        if is_lora(source)
        else laid_model(spec, source, one, known, ours, others, own)
        for (spec, source), one in zip(models, found, strict=True)
    ]
    aligned = AlignedSet(
        architecture=known,
        base=own,
        models=tuple(m for m in laid if m.report.ok),
        keys=(*keys, *beside),
        passthrough=passthrough,
        shapes=shapes,
        skipped=tuple(m.report for m in laid if not m.report.ok),
        outside=frozenset(outside),
        stored_names=_stored_names(base, view.prefix, own),
    )
    _check(laid, repairs)
    return mark_duplicates(aligned, progress or Progress()) if find_duplicates else aligned


def _with_axes(
    base: Source,
    view: View,
    known: Architecture,
    models: Sequence[tuple[ModelSpec | str, Source]],
    repairs: Repairs,
) -> View:
    """The base's view with the axes that its container lost; see `keys.axes`."""
    theirs = [(s, normalize_shapes(_shapes(s), repairs, components=False)) for _, s in models]
    return with_axes(base, view, known, theirs)


def shapes_of(
    keys: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """The shapes of some keys."""
    return {key: shapes[key] for key in keys}


def _outside(base: Source, view: View) -> dict[str, Piece]:
    """What a checkpoint holds beside its components, such as schedules, under its own names."""
    taken = {**view.pieces, **view.parts}
    keys = (k for k in view.left_out.get(OUTSIDE_KEYS, ()) if k not in taken)
    return {key: whole(key, base.entries[key].shape) for key in keys}


def _stored_names(source: Source, prefix: str, base: AlignedModel) -> dict[str, str]:
    """Canonical key → its name in the base's file, in the file's order.

    Where a tensor is stored in parts under other names, its name is the prefix and the canonical
    key.
    """
    order = {key: place for place, key in enumerate(source.entries)}
    names = {}
    for key, run in sorted(base.segments.items(), key=lambda item: order[item[1][0].key]):
        whole_tensor = (
            len(run) == 1 and run[0].stop - run[0].start == source.entries[run[0].key].numel
        )
        names[key] = without_wrappers(run[0].key) if whole_tensor else prefix + key
    return names


def _match_all(
    view: View,
    known: Architecture,
    models: Sequence[tuple[ModelSpec | str, Source]],
    repairs: Repairs,
    names: tuple[Sequence[str], Sequence[str]],
    *,
    components: bool,
) -> list[Match]:
    """Every source over the base's merged keys; `names`: those, and those copied unchanged."""
    keys, passthrough = names
    wanted = {k: view.pieces[k].shape for k in keys}
    known_names = {"generic", known.name, view.architecture.name}
    found = []
    for spec, source in models:
        theirs = normalize_shapes(_shapes(source), repairs, components=components)
        foreign = known.name != "generic" and theirs.architecture.name not in known_names
        mapped: tuple[str, ...] = ()
        block_map = "" if isinstance(spec, str) else spec.block_map
        if block_map.strip():
            theirs, mapped = apply_block_map(theirs, wanted, parse_block_map(block_map))
        laid = match(wanted, known, theirs, source, repairs, passthrough)
        depth = width = ""
        same = known.name != "generic" and theirs.architecture.name == known.name
        if (laid.ok or same) and not foreign:
            depth = depth_words(wanted, laid.view.pieces, mapped, parts=not same)
        if laid.ok:
            width = width_words(wanted, laid.mismatched, known.input_key)
        found.append(replace(laid, foreign=foreign, depth=depth, width=width))
    return found


def _shapes(source: Source) -> dict[str, tuple[int, ...]]:
    return {key: entry.shape for key, entry in source.entries.items()}


def _split_base(base: Source, view: View) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The base's canonical keys that are merged, and those that are copied unchanged."""
    if view.architecture.name == "generic" and (what := no_base(base.entries)):
        raise CompatibilityError(
            f'base "{base.name}" is {what}',
            fix="Choose a diffusion model or a checkpoint as the base.",
        )
    unread = [key for key in base.dropped if key.endswith(".weight")]
    if unread:
        raise CompatibilityError(
            f'base "{base.name}" is quantized and dequantise is switched off',
            received=f"{len(unread)} layers that were not read",
            fix="Switch dequantise on.",
        )
    keys: list[str] = []
    passthrough: list[str] = []
    for name, piece in view.pieces.items():
        entries = [base.entries[s.key] for s in piece.segments]
        state = is_marker(name) or is_buffer(name)
        weights = all(e.is_float and e.numel for e in entries) and not state
        (keys if weights else passthrough).append(name)
    if not keys:
        what = what_else(base.entries)
        raise CompatibilityError(
            f'base "{base.name}" holds no weights of a diffusion model',
            received=what or f"{len(base.entries)} tensors, none of them a float weight",
            fix="Choose a diffusion model or a checkpoint as the base.",
        )
    return tuple(keys), tuple(passthrough)


def _check(models: Sequence[AlignedModel], repairs: Repairs) -> None:
    """Raise for names that cannot stand, and for misfits where they are not to be skipped."""
    misfits = [m.report for m in models if not m.report.ok]
    if misfits and not repairs.skip_misfits:
        words = "; ".join(f'"{r.name}" is {r.verdict}' for r in misfits)
        raise CompatibilityError(
            f"{len(misfits)} of the models do not fit the base: {words}",
            fix="Take them out, or switch skip_misfits on to go on without them.",
        )
    names = [m.name for m in models]
    for name in names:
        if name == "base" or names.count(name) > 1:
            reason = "is reserved for the base" if name == "base" else "is used twice"
            raise CompatibilityError(
                f'model name "{name}" {reason}', fix="Give every model a name of its own."
            )
