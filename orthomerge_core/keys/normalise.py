"""From a file's own keys to canonical ones: no other parts of a checkpoint, no prefix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .architecture import Architecture
from .known import all_architectures, detect_canonical
from .remap import Piece, has_marker, remap, whole
from .setspec import Repairs

__all__ = ["MARKS", "PREFIXES", "View", "normalise_shapes"]

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

MARKS = frozenset(
    {"v_pred", "ztsnr", "edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min"}
)
"""Keys that tell ComfyUI how to sample: carried from the base as they are, never merged."""

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
OUTSIDE_KEYS = "outside the diffusion model"


@dataclass(frozen=True)
class View:
    """A file's tensors under canonical names.

    `left_out`: reason → keys that are no part of the diffusion model. `repairs`: names of the
    `Repairs` toggles that did something, in order. `prefix`: what was taken off every key.
    """

    architecture: Architecture
    pieces: Mapping[str, Piece]
    left_out: Mapping[str, tuple[str, ...]]
    repairs: tuple[str, ...]
    prefix: str = ""
    diffusers: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical key → shape."""
        return {key: piece.shape for key, piece in self.pieces.items()}


def normalise_shapes(shapes: Mapping[str, tuple[int, ...]], repairs: Repairs | None = None) -> View:
    """Canonical view of a file's keys and shapes, with only those repairs that are switched on."""
    repairs = repairs or Repairs()
    inside, left_out = _split(shapes, repairs)
    done = [toggle for reason, toggle in _TOGGLES.items() if reason in left_out]
    names, prefix = _without_prefix(inside, shapes) if repairs.fix_prefixes else ({}, "")
    if prefix:
        done.append("fix_prefixes")
        names |= _outside(inside, names, prefix, left_out)
    else:
        names = {k: k for k in inside}
    pieces = {name: whole(key, shapes[key]) for key, name in names.items()}
    architecture = detect_canonical({n: p.shape for n, p in pieces.items()})
    diffusers = False
    if repairs.remap_diffusers:
        found = _from_diffusers(pieces, architecture)
        if found is not None:
            pieces, architecture = found
            diffusers = True
            done.append("remap_diffusers")
    return View(architecture, pieces, left_out, tuple(done), prefix, diffusers)


def _outside(
    inside: Iterable[str],
    names: Mapping[str, str],
    prefix: str,
    left_out: dict[str, tuple[str, ...]],
) -> dict[str, str]:
    """Keys without the prefix, which keep their names; of a checkpoint only those asked for."""
    outside = tuple(k for k in inside if k not in names)
    if _CHECKPOINT not in prefix:
        return {k: k for k in outside}
    wanted = {k: k for k in outside if k.startswith((*_TEXT_ENCODER, *_VAE))}
    rest = tuple(k for k in outside if k not in wanted)
    if rest:
        left_out[OUTSIDE_KEYS] = rest
    return wanted


_TOGGLES = {TEXT_ENCODER_KEYS: "strip_text_encoder", VAE_KEYS: "strip_vae"}


def _split(keys: Iterable[str], repairs: Repairs) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Keys that may belong to the diffusion model, and the others by reason."""
    inside: list[str] = []
    left: dict[str, list[str]] = {}
    for key in keys:
        if repairs.strip_text_encoder and key.startswith(_TEXT_ENCODER):
            left.setdefault(TEXT_ENCODER_KEYS, []).append(key)
        elif repairs.strip_vae and key.startswith(_VAE):
            left.setdefault(VAE_KEYS, []).append(key)
        elif key.startswith(_EMA):
            left.setdefault(EMA_KEYS, []).append(key)
        else:
            inside.append(key)
    return inside, {reason: tuple(found) for reason, found in left.items()}


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
        marks = {k: n for k, n in names.items() if n in MARKS}
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
        whole_file = counts[prefix] >= 0.95 * sum(n not in MARKS for n in current)
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
