"""Sums of all tensors as plain JSON in columns, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .result import Analysis, Spectrum

__all__ = ["Columns", "columns_of_rows", "read_spectrum", "read_tensors", "spectrum_json",
           "tensors_json"]  # fmt: skip

Floats = NDArray[np.float64]


class Columns(NamedTuple):
    """The axes and sums of an `Analysis` that are per tensor; fields as there."""

    keys: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    blocks: tuple[str, ...]
    layer_types: tuple[str, ...]
    gram: Floats
    active: NDArray[np.int64]
    conflict: NDArray[np.int64]
    max_abs: Floats
    nonfinite: NDArray[np.int64]
    present: NDArray[np.bool_]


def tensors_json(analysis: Analysis) -> dict[str, Any]:
    """Columns over all tensors, so that no name is repeated; what `read_tensors` reads.

    `keys`, `shapes`; `blocks` and `layer_types`: the names there are, `block` and `layer_type`:
    which of them a tensor has. `gram` of [B, D_1 … D_N], `active` and `conflict`: per tensor the
    upper triangle row by row, with the diagonal but for `conflict`, whose diagonal is 0. `max_abs`
    [N], `nonfinite` [N + 1], `present` [N]. A single number stands for a row of equal ones.
    """
    count = len(analysis.names)
    blocks, kinds = (list(dict.fromkeys(x)) for x in (analysis.blocks, analysis.layer_types))
    return {
        "keys": list(analysis.keys),
        "shapes": [list(shape) for shape in analysis.shapes],
        "blocks": blocks,
        "block": [blocks.index(b) for b in analysis.blocks],
        "layer_types": kinds,
        "layer_type": [kinds.index(t) for t in analysis.layer_types],
        "gram": _rows(_upper(analysis.gram, count + 1)),
        "active": _rows(_upper(analysis.active, count)),
        "conflict": _rows(_upper(analysis.conflict, count, 1)),
        "max_abs": _rows(analysis.max_abs),
        "nonfinite": _rows(analysis.nonfinite),
        "present": _rows(analysis.present.astype(np.int64)),
    }


def _upper(matrices: NDArray[Any], side: int, above: int = 0) -> NDArray[Any]:
    """The upper triangles of [K, side, side], from `above` the diagonal on, as rows."""
    rows, columns = np.triu_indices(side, above)
    return np.asarray(matrices[:, rows, columns])


def _rows(table: NDArray[Any]) -> list[Any]:
    """Each row as a list, or as its one number where all are equal; whole numbers without ".0"."""
    found = []
    for row in table.tolist():
        plain = [int(v) if v == int(v) and abs(v) < 1e15 else v for v in row]
        found.append(plain[0] if plain and len(set(plain)) == 1 else plain)
    return found


def columns_of_rows(tensors: Sequence[Mapping[str, Any]], count: int) -> dict[str, Any]:
    """Version 1 kept one object per tensor, and conflict with its diagonal: the same as columns."""
    inner = [i for i, (a, b) in enumerate(zip(*np.triu_indices(count), strict=True)) if a != b]
    blocks, kinds = ([str(t[field]) for t in tensors] for field in ("block", "layer_type"))
    names, sorts = list(dict.fromkeys(blocks)), list(dict.fromkeys(kinds))
    columns = {
        field: [t[field] for t in tensors]
        for field in ("gram", "active", "max_abs", "nonfinite", "present")
    }
    return columns | {
        "keys": [t["key"] for t in tensors],
        "shapes": [t["shape"] for t in tensors],
        "blocks": names,
        "block": [names.index(b) for b in blocks],
        "layer_types": sorts,
        "layer_type": [sorts.index(t) for t in kinds],
        "conflict": [[t["conflict"][i] for i in inner] for t in tensors],
    }


def read_tensors(data: Mapping[str, Any], count: int) -> Columns:
    """The columns behind `tensors_json` for `count` models.

    Raises `ValueError` or another error of plain Python where they contradict themselves.
    """
    keys = tuple(map(str, data["keys"]))
    if len(set(keys)) != len(keys):
        raise ValueError("a tensor is listed twice")
    size, pairs = len(keys), np.triu_indices(count)
    return Columns(
        keys=keys,
        shapes=tuple(tuple(map(int, shape)) for shape in _as_long(data["shapes"], size)),
        blocks=_names(data["blocks"], data["block"], size),
        layer_types=_names(data["layer_types"], data["layer_type"], size),
        gram=_symmetric(data["gram"], size, np.triu_indices(count + 1), count + 1),
        active=_symmetric(data["active"], size, pairs, count).astype(np.int64),
        conflict=_symmetric(data["conflict"], size, np.triu_indices(count, 1), count).astype(
            np.int64
        ),
        max_abs=_table(data["max_abs"], size, count),
        nonfinite=_table(data["nonfinite"], size, count + 1).astype(np.int64),
        present=_table(data["present"], size, count).astype(np.bool_),
    )


def _as_long(values: Sequence[Any], size: int) -> Sequence[Any]:
    if len(values) != size:
        raise ValueError(f"{size} tensors were expected, {len(values)} are there")
    return values


def _names(names: Sequence[Any], places: Sequence[int], size: int) -> tuple[str, ...]:
    if any(place < 0 for place in places):
        raise ValueError("a block or kind of layer has no name")
    return tuple(str(names[place]) for place in _as_long(places, size))


def _table(rows: Sequence[Any], size: int, width: int) -> Floats:
    table = np.empty((size, width), dtype=np.float64)
    for out, row in zip(table, _as_long(rows, size), strict=True):
        if isinstance(row, list) and len(row) != width:
            raise ValueError(f"{width} finite numbers were expected")
        out[:] = row
    if not np.isfinite(table).all():
        raise ValueError(f"{width} finite numbers were expected")
    return table


def _symmetric(
    rows: Sequence[Any], size: int, places: tuple[NDArray[np.intp], ...], side: int
) -> Floats:
    full = np.zeros((size, side, side), dtype=np.float64)
    values, (a, b) = _table(rows, size, len(places[0])), places
    full[:, a, b] = full[:, b, a] = values
    return full


def spectrum_json(spectrum: Spectrum) -> dict[str, Any]:
    """`energies` [N]: each model's σ², descending, equal neighbors once; `runs` [N]: how often."""
    runs, energies = [], []
    for row in spectrum.energies:
        starts = np.flatnonzero(np.diff(row, prepend=np.nan))
        runs.append(np.diff(starts, append=len(row)).tolist())
        energies.append(row[starts].tolist())
    return {"key": spectrum.key, "runs": runs, "energies": energies}


def read_spectrum(data: Mapping[str, Any], count: int) -> Spectrum:
    """The spectrum behind `spectrum_json`, or of version 1, which had no `runs`."""
    rows = [np.asarray(row, dtype=np.float64) for row in data["energies"]]
    if "runs" in data:
        rows = [np.repeat(row, run) for row, run in zip(rows, data["runs"], strict=True)]
    lengths = {len(row) for row in rows}
    if len(rows) != count or len(lengths) != 1 or not all(np.isfinite(r).all() for r in rows):
        raise ValueError("a spectrum has the wrong size")
    return Spectrum(str(data["key"]), np.stack(rows))
