"""Marker tensors: keys whose presence tells ComfyUI how a model predicts; state, not weights."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = [
    "MARKERS",
    "disagreement",
    "is_buffer",
    "is_marker",
    "marker_words",
    "markers_of",
    "prediction",
]

MARKERS: dict[str, str] = {
    "v_pred": "v-prediction",
    "ztsnr": "zero-terminal SNR",
    "edm_mean": "EDM normalization",
    "edm_std": "EDM normalization",
    "edm_vpred.sigma_max": "EDM v-prediction",
    "edm_vpred.sigma_min": "EDM v-prediction",
    "__x0__": "x0-prediction",
    "__sequential__": "sequential text positions",
    "__index_timestep_zero__": "reference images at timestep zero",
    "__ming_image__": "Ming image conditioning",
}
"""Known marker → what it makes ComfyUI do."""

_DUNDER = re.compile(r"__[a-z0-9][a-z0-9_]*__$")

_BUFFER = re.compile(r"(?:^|\.)(?:pos_embedder\.|inv_freq$)|^accum_\w+$")


def is_marker(name: str) -> bool:
    """Whether a canonical key is a marker: a known one, or any bare name like `__this__`."""
    return name in MARKERS or _DUNDER.match(name) is not None


def is_buffer(name: str) -> bool:
    """Whether a canonical key is a computed table or a counter.

    Position tables differ in length between files of one model, so they are copied from the base,
    never compared and never merged.
    """
    return _BUFFER.search(name) is not None


def markers_of(names: Iterable[str]) -> tuple[str, ...]:
    """The markers among canonical keys, sorted."""
    return tuple(sorted(n for n in names if is_marker(n)))


def marker_words(markers: Iterable[str]) -> str:
    """What a set of markers means ("v-prediction, zero-terminal SNR"), or the default's name."""
    words = dict.fromkeys(MARKERS.get(m, f"marker {m}") for m in markers)
    return ", ".join(words) or "the architecture's default prediction"


def disagreement(base: Iterable[str], model: Iterable[str]) -> str:
    """The end of a verdict where a model predicts otherwise than the base; "" where they agree."""
    base, model = markers_of(base), markers_of(model)
    if prediction(base) == prediction(model):
        return ""
    return (
        f"; but it predicts otherwise: {marker_words(model)} here, {marker_words(base)} in the "
        f"base. The merge predicts as the base does, unless the recipe chooses another prediction"
    )


def prediction(markers: Iterable[str]) -> frozenset[str]:
    """What decides the prediction: two models agree exactly when these sets are equal."""
    return frozenset(MARKERS.get(m, m) for m in markers)
