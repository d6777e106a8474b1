"""What a table needs of an analysis for its forecasts: distances between models, per tensor."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis.result import Analysis
from ..errors import AnalysisError
from ..methods.forecast_rule import Floats

__all__ = ["REDUCED_VERSION", "Reduced", "read_reduced", "reduce_for_table"]

REDUCED_VERSION = 1

EQUAL_COUNTS_FRAC = 1e-7
"""With equal non-zero counts and no opposite sign, a distance below this share is rounding."""

EQUAL_FRAC = 1e-12
"""The same without that evidence: only what float64 itself loses."""

_WIDE_BYTES = 1 << 20


def reduce_for_table(analysis: Analysis) -> dict[str, Any]:
    """Plain JSON that a browser keeps: `forecast` needs nothing else and no file.

    `distances`: ‖M_a − M_b‖² per tensor for a < b over base (0) and models (1..N), pairs in the
    order (0,1) (0,2) … (1,2) …, row-major [keys, N(N+1)/2], little-endian, base64; float64, or
    float32 where that would exceed 1 MiB. Distances give every inner product of differences,
    ⟨M_a−M_b, M_c−M_d⟩ = (d(a,d) + d(b,c) − d(a,c) − d(b,d)) / 2, keep their digits where a Gram
    would cancel, and say by an exact 0 that two models are equal on a tensor.
    `spin` [keys]: the share of a random delta's energy that is rotation, d / 2n of a d×n matrix
    with d ≤ n, 0 for anything else. `side` [keys]: d, 0 for vectors. Both for estimates only.
    """
    blocks = tuple(dict.fromkeys(analysis.blocks))
    distances = _distances(analysis)
    kind = "<f8" if distances.nbytes <= _WIDE_BYTES else "<f4"
    sides = [_sides(shape) for shape in analysis.shapes]
    return {
        "version": REDUCED_VERSION,
        "names": list(analysis.names),
        "keys": list(analysis.keys),
        "blocks": list(blocks),
        "block_of": [blocks.index(block) for block in analysis.blocks],
        "base_energy": [float(f"{e:.9g}") for e in analysis.gram[:, 0, 0]],
        "spin": [round(d / (2 * n), 6) if d else 0.0 for d, n in sides],
        "side": [d for d, _ in sides],
        "distances": {
            "dtype": kind[1:],
            "data": base64.b64encode(distances.astype(kind).tobytes()).decode("ascii"),
        },
    }


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """(smaller, larger) side of the tensor as a matrix; (0, 1) where nothing can rotate."""
    if len(shape) < 2:
        return 0, 1
    rows, cols = shape[0], int(np.prod(shape[1:]))
    return (min(rows, cols), max(rows, cols)) if min(rows, cols) > 1 else (0, 1)


def _distances(analysis: Analysis) -> Floats:
    """‖M_a − M_b‖² [keys, pairs], exactly 0 where two models are equal on a tensor."""
    count = len(analysis.names) + 1
    gram = analysis.gram.copy()
    gram[:, 0, :] = gram[:, :, 0] = 0.0
    a, b = np.triu_indices(count, 1)
    norm2 = np.einsum("kii->ki", gram)
    both = norm2[:, a] + norm2[:, b]
    distances = np.maximum(both - 2.0 * gram[:, a, b], 0.0)
    same = np.zeros(distances.shape, dtype=np.bool_)
    models = np.flatnonzero(a > 0)
    i, j = a[models] - 1, b[models] - 1
    active, conflict = analysis.active, analysis.conflict
    same[:, models] = (active[:, i, i] == active[:, j, j]) & (active[:, i, i] == active[:, i, j])
    same[:, models] &= conflict[:, i, j] == 0
    distances[distances <= np.where(same, EQUAL_COUNTS_FRAC, EQUAL_FRAC) * both] = 0.0
    return distances


@dataclass(frozen=True)
class Reduced:
    """`reduce_for_table`'s JSON, read. distances [keys, N+1, N+1] float64, symmetric."""

    names: tuple[str, ...]
    keys: tuple[str, ...]
    blocks: tuple[str, ...]
    block_of: tuple[int, ...]
    base_energy: Floats
    rotation_frac: Floats
    side: tuple[int, ...]
    distances: Floats


def read_reduced(value: Mapping[str, Any]) -> Reduced:
    """Read `reduce_for_table`'s JSON; raises `AnalysisError` for another version."""
    if value.get("version") != REDUCED_VERSION:
        raise AnalysisError(
            "forecast data of another version",
            expected=REDUCED_VERSION,
            received=value.get("version"),
            fix="Run the analyzer again.",
        )
    keys, count = len(value["keys"]), len(value["names"]) + 1
    packed = value["distances"]
    flat = np.frombuffer(base64.b64decode(packed["data"]), dtype="<" + packed["dtype"])
    distances = np.zeros((keys, count, count))
    a, b = np.triu_indices(count, 1)
    distances[:, a, b] = distances[:, b, a] = flat.reshape(keys, len(a))
    return Reduced(
        names=tuple(value["names"]),
        keys=tuple(value["keys"]),
        blocks=tuple(value["blocks"]),
        block_of=tuple(value["block_of"]),
        base_energy=np.asarray(value["base_energy"], dtype=np.float64),
        rotation_frac=np.asarray(value["spin"], dtype=np.float64),
        side=tuple(value["side"]),
        distances=distances,
    )
