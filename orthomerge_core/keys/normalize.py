"""Canonical keys of a file: tells its components apart and removes their prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from .architecture import Architecture
from .components import claim
from .known import all_architectures, detect_canonical
from .prefixes import CHECKPOINT, without_prefix, wrapper_of
from .remap import Piece, has_marker, remap, whole
from .setspec import Repairs

__all__ = ["OUTSIDE_KEYS", "View", "normalize_shapes"]

_TEXT_ENCODER = (
    "cond_stage_model.",
    "conditioner.",
    "text_encoders.",
    "text_encoder.",
    "text_encoder_2.",
    "text_encoder_3.",
    "text_encoder_4.",
)
_VAE = ("first_stage_model.", "vae.", "taesd.", "taesdxl.")
_EMA = "model_ema."

TEXT_ENCODER_KEYS = "text encoder"
VAE_KEYS = "VAE"
EMA_KEYS = "EMA copy"
TRAINED_KEYS = "replaced by the EMA copy"
OUTSIDE_KEYS = "outside the diffusion model"


@dataclass(frozen=True)
class View:
    """A file's tensors under canonical names.

    `pieces`: the diffusion model. `parts`: text encoders and VAE, by canonical keys that start with
    their component. `left_out`: reason → keys that are in neither. `repairs`: names of the
    `Repairs` toggles that did something, in order. `prefix`: what was taken off diffusion keys.
    """

    architecture: Architecture
    pieces: Mapping[str, Piece]
    left_out: Mapping[str, tuple[str, ...]]
    repairs: tuple[str, ...]
    prefix: str = ""
    diffusers: bool = False
    parts: Mapping[str, Piece] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical key → shape."""
        return {key: piece.shape for key, piece in self.pieces.items()}


def normalize_shapes(
    shapes: Mapping[str, tuple[int, ...]],
    repairs: Repairs | None = None,
    *,
    components: bool = True,
) -> View:
    """Canonical view of a file's keys and shapes, with only those repairs that are switched on.

    `components`: whether text encoders and VAE are part of the view, or left out.
    """
    repairs = repairs or Repairs()
    outer = wrapper_of(shapes) if repairs.fix_prefixes else ""
    inner = {key.removeprefix(outer): shape for key, shape in shapes.items()}
    view = _view(inner, repairs, components)
    return view if not outer else _wrapped(view, outer, dict(zip(inner, shapes, strict=True)))


def _wrapped(view: View, outer: str, keys: Mapping[str, str]) -> View:
    """The view of a file from that of its keys without a wrapper's prefix; `keys` leads back."""

    def back(pieces: Mapping[str, Piece]) -> dict[str, Piece]:
        return {
            name: Piece(p.shape, tuple(replace(s, key=keys[s.key]) for s in p.segments))
            for name, p in pieces.items()
        }

    left_out = {why: tuple(keys[key] for key in found) for why, found in view.left_out.items()}
    repairs = tuple(dict.fromkeys(("fix_prefixes", *view.repairs)))
    return replace(
        view,
        pieces=back(view.pieces),
        parts=back(view.parts),
        left_out=left_out,
        repairs=repairs,
        prefix=outer + view.prefix,
    )


def _view(shapes: Mapping[str, tuple[int, ...]], repairs: Repairs, components: bool) -> View:
    inside, beside, left_out = _split(shapes)
    names, prefix = {k: k for k in inside}, ""
    if repairs.fix_prefixes:
        names, prefix = without_prefix(inside, shapes, partial(_known, repairs))
        names |= _outside(inside, names, prefix, left_out)
    done = ["fix_prefixes"] if any(k != n for k, n in names.items()) else []
    pieces = {name: whole(key, shapes[key]) for key, name in names.items()}
    architecture = detect_canonical({n: p.shape for n, p in pieces.items()})
    diffusers = False
    if repairs.remap_diffusers:
        found = _from_diffusers(pieces, architecture)
        if found is not None:
            pieces, architecture = found
            diffusers = True
            done.append("remap_diffusers")
    if repairs.use_ema and _use_ema(pieces, prefix, shapes, left_out):
        done.append("use_ema")
    parts = _parts(architecture, beside, shapes, left_out, wanted=components)
    return View(architecture, pieces, left_out, tuple(done), prefix, diffusers, parts)


def _parts(
    architecture: Architecture,
    keys: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]],
    left_out: dict[str, tuple[str, ...]],
    *,
    wanted: bool,
) -> dict[str, Piece]:
    """Text encoders and VAE by canonical key; those that are not wanted or known are left out."""
    keys = tuple(keys)
    if not wanted:
        for reason, prefixes in ((TEXT_ENCODER_KEYS, _TEXT_ENCODER), (VAE_KEYS, _VAE)):
            found = tuple(k for k in keys if k.startswith(prefixes))
            if found:
                left_out[reason] = found
        return {}
    names, unknown = claim(architecture.components, keys)
    if unknown:
        left_out[OUTSIDE_KEYS] = (*left_out.get(OUTSIDE_KEYS, ()), *unknown)
    return {name: whole(key, shapes[key]) for key, name in names.items()}


def _use_ema(
    pieces: dict[str, Piece],
    prefix: str,
    shapes: Mapping[str, tuple[int, ...]],
    left_out: dict[str, tuple[str, ...]],
) -> bool:
    """Put the EMA copy's tensors in the place of the trained ones; whether there was such a copy.

    A file calls the copy of `model.diffusion_model.out.0.weight`
    `model_ema.diffusion_modelout0weight`.
    """
    keys = set(left_out.get(EMA_KEYS, ()))
    swapped = {}
    for name, piece in pieces.items():
        own = piece.segments[0].key
        copy = _EMA + own.removeprefix("model.").replace(".", "")
        if len(piece.segments) == 1 and copy in keys and shapes[copy] == piece.shape:
            swapped[copy] = own
            pieces[name] = whole(copy, piece.shape)
    if swapped:
        rest = tuple(k for k in left_out.pop(EMA_KEYS) if k not in swapped)
        left_out |= {EMA_KEYS: rest} if rest else {}
        left_out[TRAINED_KEYS] = tuple(swapped.values())
    return bool(swapped)


def _outside(
    inside: Iterable[str],
    names: Mapping[str, str],
    prefix: str,
    left_out: dict[str, tuple[str, ...]],
) -> dict[str, str]:
    """Keys without the prefix, which keep their names; those of a checkpoint are left out."""
    outside = tuple(k for k in inside if k not in names)
    if CHECKPOINT not in prefix:
        return {k: k for k in outside}
    if outside:
        left_out[OUTSIDE_KEYS] = outside
    return {}


def _split(keys: Iterable[str]) -> tuple[list[str], list[str], dict[str, tuple[str, ...]]]:
    """Keys that may belong to the diffusion model, those of other components, and EMA copies."""
    inside: list[str] = []
    beside: list[str] = []
    ema: list[str] = []
    for key in keys:
        if key.startswith((*_TEXT_ENCODER, *_VAE)):
            beside.append(key)
        else:
            (ema if key.startswith(_EMA) else inside).append(key)
    return inside, beside, {EMA_KEYS: tuple(ema)} if ema else {}


def _known(repairs: Repairs, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether keys are those of a described architecture, in its own names or in diffusers'."""
    found = detect_canonical(shapes)
    if found.name != "generic" or not repairs.remap_diffusers:
        return found.name != "generic"
    return _from_diffusers({k: whole(k, s) for k, s in shapes.items()}, found) is not None


def _from_diffusers(
    pieces: dict[str, Piece], architecture: Architecture
) -> tuple[dict[str, Piece], Architecture] | None:
    """Canonical pieces of a file in the diffusers naming of an architecture we know, else None."""
    if architecture.name != "generic" and architecture.diffusers is None:
        return None
    for candidate in all_architectures():
        naming = candidate.diffusers
        if naming is None or not has_marker(naming, pieces):
            continue
        mapped, _ = remap(naming, pieces)
        if candidate.fits({n: p.shape for n, p in mapped.items()}):
            return mapped, candidate
    return None
