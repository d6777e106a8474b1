"""An analysis as JSON: what the shell prints, what the cache keeps, what others read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AnalysisError
from .derive import Derived, derive
from .profile import profile
from .result import Analysis, Spectrum

__all__ = ["FORMAT", "from_json", "to_json"]

FORMAT = "orthomerge-analysis"
_VERSION = 1
_FIX = "Run analyze again to make a new one."
_PER_MODEL = (
    "delta_norm",
    "relative_norm",
    "effective_rank",
    "snr",
    "survival",
    "outlier",
    "outlier_ratio",
    "quality",
    "coverage_frac",
    "nonfinite",
)
_PER_PAIR = ("cosine", "new_information", "conflict_ratio")


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Raw sums and derived figures as plain JSON; a figure that does not exist is null.

    At the top: `names` [N]; per model [N] `delta_norm`, `effective_rank`, `snr`, `survival`,
    `outlier`, `quality`, `grade`, …; per pair [N][N] `cosine`, `new_information` and
    `conflict_ratio`; `blocks` and `layer_types`: name → {`delta_norm` [N], `energy_frac` [N]}.
    `tensors` holds the raw sums, one object per key: `gram` of [B, D_1 … D_N], `active` and
    `conflict` of all pairs, each the upper triangle row by row; `max_abs` [N], `nonfinite` [N + 1]
    and `present` [N].
    """
    found = derive(analysis)
    return {
        "format": FORMAT,
        "version": _VERSION,
        "base": analysis.base,
        "names": list(analysis.names),
        "files": list(analysis.files),
        "architecture": analysis.architecture,
        **_derived_json(found),
        "blocks": _profile_json(analysis, analysis.blocks),
        "layer_types": _profile_json(analysis, analysis.layer_types),
        "content_hashes": dict(analysis.content_hashes),
        "reports": [dict(report) for report in analysis.reports],
        "spectra": [
            {"key": s.key, "energies": [[float(e) for e in row] for row in s.energies]}
            for s in analysis.spectra
        ],
        "tensors": [_tensor_json(analysis, k) for k in range(len(analysis.keys))],
    }


def _derived_json(found: Derived) -> dict[str, Any]:
    fields: dict[str, Any] = {"base_norm": found.base_norm, "base_nonfinite": found.base_nonfinite}
    for name in _PER_MODEL:
        fields[name] = [_number(v) for v in getattr(found, name).tolist()]
    fields["grade"] = list(found.grade)
    for name in _PER_PAIR:
        fields[name] = [[_number(v) for v in row] for row in getattr(found, name).tolist()]
    return fields


def _profile_json(analysis: Analysis, labels: Sequence[str]) -> dict[str, Any]:
    parts = profile(analysis, labels)
    return {
        name: {"delta_norm": parts.norm[i].tolist(), "energy_frac": parts.share[i].tolist()}
        for i, name in enumerate(parts.parts)
    }


def _tensor_json(analysis: Analysis, k: int) -> dict[str, Any]:
    return {
        "key": analysis.keys[k],
        "shape": list(analysis.shapes[k]),
        "block": analysis.blocks[k],
        "layer_type": analysis.layer_types[k],
        "gram": _upper(analysis.gram[k]),
        "active": _upper(analysis.active[k]),
        "conflict": _upper(analysis.conflict[k]),
        "max_abs": analysis.max_abs[k].tolist(),
        "nonfinite": analysis.nonfinite[k].tolist(),
        "present": [int(p) for p in analysis.present[k]],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _upper(matrix: NDArray[Any]) -> list[Any]:
    """Upper triangle, diagonal included, row by row."""
    found: list[Any] = matrix[np.triu_indices(len(matrix))].tolist()
    return found


def from_json(data: Mapping[str, Any]) -> Analysis:
    """The analysis behind `to_json`; derived figures are computed anew, not read.

    Raises `AnalysisError` if it is not an analysis, is of a newer version, or contradicts itself.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise AnalysisError(
            "this is not an analysis",
            expected=f'a JSON object with "format": "{FORMAT}"',
            received=_shown(data),
            fix=_FIX,
        )
    if data.get("version") != _VERSION:
        raise AnalysisError(
            "this analysis is of another version",
            expected=f"version {_VERSION}",
            received=repr(data.get("version"))[:40],
            fix="Update OrthoMerge Studio, or run analyze again to make a new one.",
        )
    try:
        return _analysis(data)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise AnalysisError(f"this analysis is damaged ({_reason(error)})", fix=_FIX) from error


def _analysis(data: Mapping[str, Any]) -> Analysis:
    names, tensors = tuple(map(str, data["names"])), list(data["tensors"])
    count, keys = len(names), len(tensors)
    analysis = Analysis(
        base=str(data["base"]),
        names=names,
        files=tuple(map(str, data["files"])),
        architecture=str(data["architecture"]),
        keys=tuple(str(t["key"]) for t in tensors),
        shapes=tuple(tuple(int(n) for n in t["shape"]) for t in tensors),
        blocks=tuple(str(t["block"]) for t in tensors),
        layer_types=tuple(str(t["layer_type"]) for t in tensors),
        gram=_stack([_full(t["gram"], count + 1) for t in tensors], (count + 1, count + 1)),
        active=_stack([_full(t["active"], count) for t in tensors], (count, count)).astype(
            np.int64
        ),
        conflict=_stack([_full(t["conflict"], count) for t in tensors], (count, count)).astype(
            np.int64
        ),
        max_abs=_stack([_floats(t["max_abs"], count) for t in tensors], (count,)),
        nonfinite=_stack(
            [_floats(t["nonfinite"], count + 1) for t in tensors], (count + 1,)
        ).astype(int),
        present=_stack([_floats(t["present"], count) for t in tensors], (count,)).astype(bool),
        spectra=tuple(_spectrum(s, count) for s in data["spectra"]),
        content_hashes={str(k): str(v) for k, v in data["content_hashes"].items()},
        reports=tuple(dict(r) for r in data["reports"]),
    )
    if len(analysis.files) != count or len(set(names)) != count or not count:
        raise ValueError("names and files do not match")
    if len(set(analysis.keys)) != keys:
        raise ValueError("a tensor is listed twice")
    return analysis


def _spectrum(data: Mapping[str, Any], count: int) -> Spectrum:
    energies = np.array(data["energies"], dtype=np.float64)
    if energies.ndim != 2 or len(energies) != count or not np.isfinite(energies).all():
        raise ValueError("a spectrum has the wrong size")
    return Spectrum(str(data["key"]), energies)


def _floats(values: Sequence[Any], length: int) -> NDArray[np.float64]:
    found = np.array(values, dtype=np.float64)
    if found.shape != (length,) or not np.isfinite(found).all():
        raise ValueError(f"{length} finite numbers were expected")
    return found


def _full(values: Sequence[Any], side: int) -> NDArray[np.float64]:
    """The symmetric matrix of an upper triangle."""
    upper = _floats(values, side * (side + 1) // 2)
    full = np.zeros((side, side), dtype=np.float64)
    full[np.triu_indices(side)] = upper
    return full + np.triu(full, 1).T


def _stack(parts: list[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.stack(parts) if parts else np.zeros((0, *shape), dtype=np.float64)


def _shown(data: object) -> str:
    if isinstance(data, Mapping):
        return "an object with " + (", ".join(map(str, list(data)[:5])) or "no fields")
    return type(data).__name__


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f'"{error.args[0]}" is missing'
    return str(error)[:120] or type(error).__name__
