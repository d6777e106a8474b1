"""Singular-value energies of the deltas, on the largest matrices of a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..concurrency.background import run_abandonable
from ..keys.aligned import AlignedModel, AlignedSet
from ..progress import Progress
from .metrics.effective_rank import effective_rank
from .metrics.snr import snr
from .result import Spectrum

__all__ = ["Energies", "energies", "sample_keys", "sample_spectra", "spectra_cost", "staircase"]

Energies = NDArray[np.float64]

_PANEL = 1 << 21
"""Elements read, or columns × rows multiplied, between two looks at the stop button."""

_TRUSTED_SNR = 1e4
"""Above it, what remains beside the leading energies may be float32 rounding of the Gram."""

_STEP = 1.0625
"""How much further each step of a staircase reaches: the first sixteen are single values."""

_FLOPS_PER_BYTE = 100.0
"""Multiplications done while one byte is read, roughly, to put both on one progress bar."""


def sample_keys(aligned: AlignedSet, count: int) -> tuple[str, ...]:
    """Of each component the `count` largest tensors that flatten to a matrix of at least 2 × 2, in
    the base's order.

    Where more are equally large than are wanted, they are taken evenly from first to last, so that
    the sample is not five neighbors from the start of the model.
    """
    chosen = {
        key
        for name in aligned.components
        for key in _largest_of(aligned, aligned.keys_of(name), count)
    }
    return tuple(key for key in aligned.keys if key in chosen)


def _largest_of(aligned: AlignedSet, keys: Sequence[str], count: int) -> list[str]:
    sizes = {k: aligned.numel(k) for k in keys if min(matrix_shape(aligned.shapes[k])) > 1}
    chosen: list[str] = []
    for size in sorted(set(sizes.values()), reverse=True):
        equal = [k for k, n in sizes.items() if n == size]
        wanted = min(count - len(chosen), len(equal))
        places = np.linspace(0, len(equal) - 1, wanted).round().astype(int)
        chosen += [equal[i] for i in places]
    return chosen


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a tensor flattened to 2-D; (1, n) for vectors and scalars."""
    if len(shape) < 2:
        return 1, int(np.prod(shape, dtype=np.int64))
    return shape[0], int(np.prod(shape[1:], dtype=np.int64))


def spectra_cost(
    aligned: AlignedSet, count: int, known: Mapping[str, Mapping[str, Energies]]
) -> float:
    """Work of `sample_spectra` in the bytes that could be read meanwhile."""
    return sum(
        _cost(aligned.shapes[key])
        for key in sample_keys(aligned, count)
        for model in aligned.models
        if model.has(key) and key not in known.get(model.name, {})
    )


def _cost(shape: tuple[int, ...]) -> float:
    small, large = sorted(matrix_shape(shape))
    return (small * small * large + 4.0 * small**3) / _FLOPS_PER_BYTE


def sample_spectra(
    aligned: AlignedSet,
    count: int,
    device: torch.device,
    progress: Progress,
    known: Mapping[str, Mapping[str, Energies]],
) -> tuple[Spectrum, ...]:
    """Energies of every model's delta on the sampled matrices; these are read a second time.

    `known` (model name → key → energies) is taken as it is; what is new is a `staircase`. Memory:
    one matrix in float32 and its smaller-side Gram in float64.
    """
    found = []
    for key in sample_keys(aligned, count):
        ranks = min(matrix_shape(aligned.shapes[key]))
        rows = np.zeros((len(aligned.models), ranks), dtype=np.float64)
        for row, model in zip(rows, aligned.models, strict=True):
            if key in known.get(model.name, {}):
                row[:] = known[model.name][key]
            elif model.has(key):
                row[:] = staircase(_model_energies(aligned, model, key, device, progress))
                progress.advance(_cost(aligned.shapes[key]))
        found.append(Spectrum(key, rows))
    return tuple(found)


def staircase(energies: Energies) -> Energies:
    """Energies with neighbors averaged in steps that widen with the index: a curve of few numbers.

    The first sixteen stay as they are. Steps end at the leading tenth and at 90 % of the energy, so
    that SNR and effective rank are those of `energies`; the total is kept too. [ranks] → [ranks].
    """
    count = len(energies)
    if not energies.any():
        return energies
    reached = round(effective_rank(energies) * count)
    edges = {0, count, max(1, count // 10), reached - 1, reached}
    width = 0.0
    while width < count:
        edges.add(int(width))
        width = max(width + 1.0, width * _STEP)
    cuts = sorted(edges)
    steps = np.diff(cuts)
    means = np.add.reduceat(energies, cuts[:-1]) / steps
    return np.repeat([float(f"{mean:.10g}") for mean in means], steps)


def _model_energies(
    aligned: AlignedSet, model: AlignedModel, key: str, device: torch.device, progress: Progress
) -> Energies:
    delta = _read_delta(aligned, model, key, progress)
    try:
        return energies(delta.to(device), progress)
    except torch.OutOfMemoryError:
        return energies(delta, progress)


def _read_delta(aligned: AlignedSet, model: AlignedModel, key: str, progress: Progress) -> Tensor:
    """M − B as a float32 matrix, elements that are not finite as zero."""
    total = aligned.numel(key)
    delta = torch.empty(total, dtype=torch.float32)
    base = torch.empty(min(_PANEL, total), dtype=torch.float32)
    for start in range(0, total, _PANEL):
        part = delta[start : start + _PANEL]
        model.read_into(key, part, start)
        aligned.base.read_into(key, base[: len(part)], start)
        part.sub_(base[: len(part)]).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        progress.check()
    return delta.view(matrix_shape(aligned.shapes[key]))


def energies(delta: Tensor, progress: Progress) -> Energies:
    """σ_k² of a float32 matrix [m, n], descending: [min(m, n)] float64, six significant digits.

    They are the eigenvalues of the smaller-side Gram. Its products are float32; where that leaves
    the energy beside the leading tenth in doubt (a delta of low rank), they are done again in
    float64, which is good to 1e-12 of the total: no more is claimed of an SNR than `metrics.snr`
    caps it at. Cost: min²·max multiply-adds and (4/3)·min³ for the eigenvalues.
    """
    scale = _largest(delta, progress)
    if not scale:
        return np.zeros(min(delta.shape), dtype=np.float64)
    found = _gram_eigenvalues(delta, scale, torch.float32, progress)
    if snr(found) > _TRUSTED_SNR and delta.device.type != "mps":
        found = _gram_eigenvalues(delta, scale, torch.float64, progress)
    return np.array([float(f"{value:.6g}") for value in found * scale**2])


def _largest(matrix: Tensor, progress: Progress) -> float:
    """max |x|, in panels: a pass over a large matrix takes a second on a busy machine."""
    largest, height = 0.0, max(1, _PANEL // max(1, matrix.shape[1]))
    for part in matrix.split(height):
        low, high = (float(bound) for bound in part.aminmax())
        largest = max(largest, high, -low)
        progress.check()
    return largest


def _gram_eigenvalues(
    matrix: Tensor, scale: float, products: torch.dtype, progress: Progress
) -> Energies:
    """Of the smaller-side Gram of matrix / scale, whose squares stay within float32."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    side = wide.shape[0]
    gram = torch.zeros((side, side), dtype=torch.float64)
    width, height = max(256, _PANEL // side), max(256, -(-side // 12))
    for start in range(0, wide.shape[1], width):
        part = wide[:, start : start + width].to(products) / scale
        for top in range(0, side, height):
            # Only the upper triangle, by block rows: little more than half of the products.
            block = part[top : top + height] @ part[top:].T
            gram[top : top + height, top:] += block.cpu()
            progress.check()
    values = run_abandonable(lambda: torch.linalg.eigvalsh(gram, UPLO="U"), progress)
    return values.clamp(min=0.0).flip(0).numpy()
