"""Canonical keys of a file: its components are told apart, and their prefixes are taken off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .architecture import Architecture
from .components import claim
from .known import all_architectures, detect_canonical
from .markers import is_marker
from .remap import Piece, has_marker, remap, whole
from .setspec import Repairs

__all__ = ["OUTSIDE_KEYS", "PREFIXES", "View", "normalise_shapes"]

PREFIXES = (
    "model.diffusion_model.",
    "diffusion_model.",
    "model.model.",
    "module.",
    "_orig_mod.",
    "transformer.",
    "model.",
    "unet.",
    "dit.",
    "net.",
)
"""Usual prefixes of a diffusion model's keys, tried in this order."""

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
_CHECKPOINT = "model.diffusion_model."
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
    `Repairs`
    toggles that did something, in order. `prefix`: what was taken off every diffusion key.
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


def normalise_shapes(
    shapes: Mapping[str, tuple[int, ...]],
    repairs: Repairs | None = None,
    *,
    components: bool = True,
) -> View:
    """Canonical view of a file's keys and shapes, with only those repairs that are switched on.

    `components`: whether text encoders and VAE are part of the view, or left out.
    """
    repairs = repairs or Repairs()
    inside, beside, left_out = _split(shapes)
    names, prefix = _without_prefix(inside, shapes) if repairs.fix_prefixes else ({}, "")
    done = ["fix_prefixes"] if prefix else []
    names = names | _outside(inside, names, prefix, left_out) if prefix else {k: k for k in inside}
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
    if _CHECKPOINT not in prefix:
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


def _without_prefix(
    keys: list[str], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, str], str]:
    """file key → name without the common prefix, for the keys that carry it; and that prefix.

    A prefix is taken off when it marks a checkpoint, when nearly every key has it, or when what
    remains is an architecture we know: a block that happens to be called "model" keeps its name.
    """
    names = {k: k for k in keys}
    taken = ""
    for _ in range(3):
        prefix = _next_prefix(names, shapes)
        if not prefix:
            break
        taken += prefix
        marks = {k: n for k, n in names.items() if is_marker(n)}
        names = {k: n[len(prefix) :] for k, n in names.items() if n.startswith(prefix)} | marks
    return names, taken


def _next_prefix(names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    current = {n: shapes[k] for k, n in names.items()}
    if detect_canonical(current).name != "generic":
        return ""
    counts = Counter(p for n in current for p in PREFIXES if n.startswith(p))
    extra = [p for a in all_architectures() for p in a.prefixes]
    counts.update(p for n in current for p in extra if n.startswith(p))
    for prefix in (*PREFIXES, *extra):
        if not counts[prefix]:
            continue
        rest = {n[len(prefix) :]: s for n, s in current.items() if n.startswith(prefix)}
        whole_file = counts[prefix] >= 0.95 * sum(not is_marker(n) for n in current)
        if prefix == _CHECKPOINT or whole_file or detect_canonical(rest).name != "generic":
            return prefix
    return ""


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
