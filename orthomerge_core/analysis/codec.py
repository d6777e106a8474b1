"""An analysis as JSON: what the shell prints, what the cache keeps, what others read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AnalysisError, shown_value
from ..keys.components import DIFFUSION
from ..keys.setspec import COMPONENTS
from .clusters import clusters
from .derive import Derived, derive
from .profile import profile
from .result import Analysis
from .rounding import read_rounding
from .tensors_json import (
    columns_of_rows,
    read_spectrum,
    read_tensors,
    spectrum_json,
    tensors_json,
)

__all__ = ["FORMAT", "dumps", "from_json", "to_json"]

FORMAT = "orthomerge-analysis"
_VERSION = 2
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
    `conflict_ratio`; `blocks` and `layer_types`: name → {`delta_norm`, `energy_frac`,
    `relative_norm`, `survival`, `outlier`}, [N] each within that part; all of nine significant
    digits. Those at the top are the diffusion model's; `components`: name → the same figures within
    each component. `blocks` are those of all components, `energy_frac` the share within the block's
    own; `layer_types` are the diffusion model's. `tensors` holds the raw sums without loss (see
    `tensors_json`), `spectra` the energies of the sampled matrices (see `spectrum_json`),
    `rounding` what the stored formats round (see `Rounding`), `clusters` the groups of models (see
    `Clusters`).
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
        "clusters": clusters(analysis).to_json(),
        "components": {name: _component_json(analysis, name) for name in analysis.components},
        "blocks": _profile_json(analysis, analysis.blocks, analysis.components),
        "layer_types": _profile_json(analysis, analysis.layer_types, (DIFFUSION,)),
        "content_hashes": dict(analysis.content_hashes),
        "reports": [dict(report) for report in analysis.reports],
        "rounding": analysis.rounding.to_json() if analysis.rounding else None,
        "repairs": dict(analysis.repairs),
        "scope": analysis.scope,
        "spectra": [spectrum_json(s) for s in analysis.spectra],
        "tensors": tensors_json(analysis),
    }


def dumps(analysis: Analysis) -> str:
    """`to_json` as one line of text without spaces between its parts."""
    return json.dumps(to_json(analysis), allow_nan=False, separators=(",", ":"))


def _derived_json(found: Derived) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "base_norm": _number(found.base_norm),
        "base_nonfinite": found.base_nonfinite,
    }
    for name in _PER_MODEL:
        fields[name] = _numbers(getattr(found, name))
    fields["grade"] = list(found.grade)
    for name in _PER_PAIR:
        fields[name] = [_numbers(row) for row in getattr(found, name)]
    return fields


def _component_json(analysis: Analysis, name: str) -> dict[str, Any]:
    return _derived_json(derive(analysis, analysis.keys_in(name)))


def _profile_json(
    analysis: Analysis, labels: Sequence[str], components: Sequence[str]
) -> dict[str, Any]:
    label, found = np.asarray(labels), {}
    for component in components:
        parts, kept = profile(analysis, labels, component), analysis.keys_in(component)
        for i, name in enumerate(parts.parts):
            inside = derive(analysis, kept & (label == name))
            found[name] = {
                "delta_norm": _numbers(parts.norm[i]),
                "energy_frac": _numbers(parts.share[i]),
                "relative_norm": _numbers(parts.relative[i]),
                "survival": _numbers(inside.survival),
                "outlier": _numbers(inside.outlier),
            }
    return found


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    return float(f"{value:.9g}") if math.isfinite(value) else None


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
    if data.get("version") not in (1, _VERSION):
        raise AnalysisError(
            "this analysis is of another version",
            expected=f"version 1 or {_VERSION}",
            received=shown_value(data.get("version")),
            fix="Update OrthoMerge Studio, or run analyze again to make a new one.",
        )
    try:
        return _analysis(data)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise AnalysisError(f"this analysis is damaged ({_reason(error)})", fix=_FIX) from error


def _analysis(data: Mapping[str, Any]) -> Analysis:
    names = tuple(map(str, data["names"]))
    files = tuple(map(str, data["files"]))
    if len(files) != len(names) or len(set(names)) != len(names) or not names:
        raise ValueError("names and files do not match")
    tensors, rounding = data["tensors"], data.get("rounding")
    if data["version"] == 1:
        tensors = columns_of_rows(tensors, len(names))
    return Analysis(
        base=str(data["base"]),
        names=names,
        files=files,
        architecture=str(data["architecture"]),
        **read_tensors(tensors, len(names))._asdict(),
        spectra=tuple(read_spectrum(s, len(names)) for s in data["spectra"]),
        content_hashes={str(k): str(v) for k, v in data["content_hashes"].items()},
        reports=tuple(dict(r) for r in data["reports"]),
        rounding=read_rounding(rounding, len(names)) if rounding else None,
        repairs={str(k): bool(v) for k, v in data.get("repairs", {}).items()},
        scope=str(data.get("scope", COMPONENTS[0])),
    )


def _shown(data: object) -> str:
    if isinstance(data, Mapping):
        return "an object with " + (", ".join(map(str, list(data)[:5])) or "no fields")
    return type(data).__name__


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f'"{error.args[0]}" is missing'
    return str(error)[:120] or type(error).__name__
