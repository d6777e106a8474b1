"""The prediction type of a model, from the marker tensors by which ComfyUI knows it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .markers import is_marker
from .normalize import View

__all__ = ["MARKERS_OF", "markers", "prediction_of"]

MARKERS_OF: Mapping[str, tuple[str, ...]] = {
    "epsilon": (),
    "v": ("v_pred",),
    "v+ztsnr": ("v_pred", "ztsnr"),
}
"""Prediction → the markers, empty tensors, that a file of it holds."""


def markers(view: View) -> dict[str, str]:
    """Marker → its key in the file."""
    return {name: view.pieces[name].segments[0].key for name in view.pieces if is_marker(name)}


def prediction_of(marks: Collection[str]) -> str:
    """The prediction that a file with these markers is sampled with.

    "epsilon", "v" and "v+ztsnr" as in a recipe; "edm" and "edm-v" for the markers of EDM models,
    which a recipe cannot ask for by itself.
    """
    if "edm_mean" in marks and "edm_std" in marks:
        return "edm"
    if "edm_vpred.sigma_max" in marks:
        return "edm-v"
    if "v_pred" in marks:
        return "v+ztsnr" if "ztsnr" in marks else "v"
    return "epsilon"
