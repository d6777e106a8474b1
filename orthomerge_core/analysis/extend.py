"""Adds models to a known analysis: only sums that involve a new model are computed.

A pair's inner product and sign counts need the data of both, so the known models cannot stay
unread altogether; but where a new model lacks a key, or equals the base, every such sum is zero and
nothing of the known models is read.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..concurrency.device import usable_device
from ..concurrency.pool import Ticker, default_workers, run_pool
from ..io.hash_memo import HashMemo
from ..io.scratch import Scratch
from ..io.source import Read
from ..keys.aligned import AlignedSet
from ..keys.content import recall_hashes
from ..keys.reading import key_bytes, key_groups
from ..progress import Progress
from .accumulator import Accumulator
from .cross import CrossSums, cross_sums
from .kernel import SMALLEST_PEAK, ChunkKernel, ChunkSums, exact_sums, padded
from .result import Analysis
from .rounding import measure_rounding
from .spectrum import Energies, matrix_shape, sample_keys, sample_spectra, spectra_cost
from .stream import MAX_CHUNK, check_arguments, content_hashes
from .untouched import untouched_keys

__all__ = ["extend"]

Rows32 = NDArray[np.float32]


def extend(
    aligned: AlignedSet,
    known: Analysis,
    *,
    rank_samples: int = 5,
    chunk_elements: int = 262144,
    threads: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    known_spectra: Mapping[str, Mapping[str, Energies]] | None = None,
    memo: HashMemo | None = None,
) -> Analysis:
    """The analysis of a set some of whose models have one already.

    Args:
        aligned: the opened set.
        known: sums of some of its models, under the names they have in it, over the same base and
            keys.
        rank_samples, chunk_elements, threads, progress, known_spectra, memo: as in `analyze`. The
            pass itself runs on the CPU; `device` is for the spectra.

    Sums among known models are taken as they are. Counts and non-finite counts of new ones equal
    those of `analyze`, maxima to float32's last digit; their inner products lie within its accuracy
    (BLAS rounds a product by where its row stands, so that even two full passes over different sets
    differ in float32's last digit). The base and the new models are read once, and of the known
    ones what lies under a chunk that a new one changes; `progress` is told how much that was.
    Raises what `analyze` raises.
    """
    check_arguments(aligned, rank_samples, chunk_elements, threads)
    target, progress = usable_device(device), progress or Progress()
    recall_hashes((aligned.base, *aligned.models), memo)
    job = _Job(aligned, known, memo)
    spectra = job.spectra(known_spectra or {}, sample_keys(aligned, rank_samples))
    progress.start(job.total_bytes() + spectra_cost(aligned, rank_samples, spectra), "Analyzing")
    if job.new:
        chunk, count = padded(min(chunk_elements, MAX_CHUNK)), threads or default_workers()
        run_pool(key_groups(aligned), lambda: _Worker(job, chunk), count, progress)
        progress.note(job.told())
    found = sample_spectra(aligned, rank_samples, target, progress, spectra)
    hashes = content_hashes(aligned, memo, progress, known.content_hashes)
    result = job.sums.result(found, hashes)
    return replace(result, rounding=measure_rounding(aligned, result.gram, progress))


class _Job:
    """What there is to do, per key, and what was read. Places count the base as 0."""

    def __init__(self, aligned: AlignedSet, known: Analysis, memo: HashMemo | None) -> None:
        self.aligned, self.models = aligned, (aligned.base, *aligned.models)
        self.sums = Accumulator(aligned)
        row = {name: i for i, name in enumerate(known.names)}
        named = {i: m.name for i, m in enumerate(aligned.models, start=1)}
        self._known = {row[name]: i for i, name in named.items() if name in row}
        self.new = [i for i, name in named.items() if name not in row]
        self.sums.take(known, list(self._known), list(self._known.values()))
        self._peaks = {place: known.max_abs[:, row] for row, place in self._known.items()}
        self._still = {i: untouched_keys(aligned.base, self.models[i], memo) for i in self.new}
        self._count_equal_inputs()
        self._lock, self.reread = threading.Lock(), 0.0

    def changing(self, index: int) -> list[int]:
        """New models that may change key number `index`."""
        key = self.aligned.keys[index]
        return [i for i in self.new if self.models[i].has(key) and key not in self._still[i]]

    def beside(self, index: int) -> list[int]:
        """Known models that do change it; the others' products are zero."""
        return [i for i, peaks in self._peaks.items() if peaks[index] > 0]

    def tiny(self, index: int, places: Sequence[int]) -> bool:
        """Whether float32 products with one of these known deltas would underflow."""
        return any(self._peaks[i][index] < SMALLEST_PEAK for i in places)

    def bytes_of(self, index: int, places: Sequence[int]) -> float:
        """Bytes behind key number `index` in these models."""
        return sum(key_bytes(self.models[i], self.aligned.keys[index]) for i in places)

    def total_bytes(self) -> float:
        """Most that may have to be read."""
        total = 0.0
        for index in range(len(self.aligned.keys)):
            if changing := self.changing(index):
                total += self.bytes_of(index, [0, *changing, *self.beside(index)])
        return total

    def spectra(
        self, known: Mapping[str, Mapping[str, Energies]], sampled: Sequence[str]
    ) -> dict[str, dict[str, Energies]]:
        """Known spectra, and zeros where a new model is known to equal the base."""
        found = {name: dict(energies) for name, energies in known.items()}
        for i in self.new:
            mine = found.setdefault(self.models[i].name, {})
            for key in self._still[i].intersection(sampled):
                mine[key] = np.zeros(min(matrix_shape(self.aligned.shapes[key])))
        return found

    def count_reread(self, index: int, places: Sequence[int], size: int) -> None:
        """`size` elements of key number `index` had to be read of known models."""
        share = size / self.aligned.numel(self.aligned.keys[index])
        with self._lock:
            self.reread += share * self.bytes_of(index, places)

    def told(self) -> str:
        """One sentence on what was read again."""
        places, keys = list(self._known.values()), range(len(self.aligned.keys))
        held = sum(
            key_bytes(self.models[i], self.aligned.keys[k])
            for i in places
            for k in keys
            if self.models[i].has(self.aligned.keys[k])
        )
        names = ", ".join(self.models[i].name for i in self.new)
        return (
            f"Of the known models' {held / 2**20:,.1f} MiB, {self.reread / 2**20:,.1f} MiB were "
            f"read again: what lies beside the changes of {names}."
        )

    def _count_equal_inputs(self) -> None:
        """A tensor that is the base's byte for byte holds the base's non-finite values."""
        place = {key: index for index, key in enumerate(self.aligned.keys)}
        for i, still in self._still.items():
            self.sums.copy_nonfinite(i, [place[key] for key in still])


class _Worker:
    """Sums one group of keys after another, in buffers of its own."""

    def __init__(self, job: _Job, chunk: int) -> None:
        aligned, self._job, self._chunk = job.aligned, job, chunk
        longest = max((aligned.numel(key) for key in aligned.keys), default=0)
        columns = padded(max(1, min(chunk, longest)))
        self._rows = torch.empty((len(job.models), columns), dtype=torch.float32)
        self._deltas = np.empty((len(job.new), columns), dtype=np.float32)
        self._kernel = ChunkKernel(1 + len(job.new), columns)
        self._scratch = Scratch()
        self._readers: dict[tuple[int, int], Read] = {}

    def __call__(self, group: list[int], tick: Ticker) -> None:
        """See `run_pool`."""
        for index in group:
            self._readers.clear()
            changing, beside = self._job.changing(index), self._job.beside(index)
            total = self._job.aligned.numel(self._job.aligned.keys[index])
            if changing and total:
                cost = self._job.bytes_of(index, [0, *changing, *beside])
                for start in range(0, total, self._chunk):
                    size = min(self._chunk, total - start)
                    self._sum(index, changing, beside, start, size)
                    tick(cost * size / total)

    def _sum(
        self, index: int, changing: list[int], beside: list[int], start: int, size: int
    ) -> None:
        sums, job = self._job.sums, self._job
        used = self._read(index, [0, *changing], start, size)
        deltas, base = self._deltas[: len(changing), : used.shape[1]], used[0].copy()
        _subtract(used[1:], base, deltas)
        found = self._kernel(used, size)
        live = [] if found is None else np.flatnonzero(found.max_abs).tolist()
        cross = None
        if found is not None and not (live and beside):
            sums.add(index, [0, *changing], _without_base(found))
            return
        job.count_reread(index, beside, size)
        if found is not None and not job.tiny(index, beside):
            others = self._read(index, beside, start, size)
            _subtract(others, base, others)
            cross = cross_sums(deltas[live], others)
        if found is None or cross is None:
            self._sum_exactly(index, changing, beside, start, size)
            return
        sums.add(index, [0, *changing], _without_base(found))
        sums.add_cross(index, [changing[i] for i in live], beside, cross)

    def _sum_exactly(
        self, index: int, changing: list[int], beside: list[int], start: int, size: int
    ) -> None:
        """All of a chunk in float64, of which what is new is kept."""
        used = self._read(index, [0, *changing, *beside], start, size)
        found, count = exact_sums(used, size), len(changing)
        own = slice(0, count + 1)
        mine = ChunkSums(
            gram=found.gram[own, own],
            active=found.active[:count, :count],
            conflict=found.conflict[:count, :count],
            max_abs=found.max_abs[:count],
            nonfinite=found.nonfinite[own],
        )
        cross = CrossSums(
            found.gram[1 : count + 1, count + 1 :],
            found.active[:count, count:],
            found.conflict[:count, count:],
        )
        self._job.sums.add(index, [0, *changing], _without_base(mine))
        self._job.sums.add_cross(index, changing, beside, cross)

    def _read(self, index: int, places: Sequence[int], start: int, size: int) -> Rows32:
        """Rows of these models, float32 [places, size padded to 4096], zeros behind `size`."""
        used = self._rows[: len(places), : padded(size)]
        used[:, size:] = 0.0
        for row, place in zip(used, places, strict=True):
            self._reader(index, place)(row[:size], start)
        found: Rows32 = used.numpy()
        return found

    def _reader(self, index: int, place: int) -> Read:
        """Looked up once for all chunks of a key."""
        if (index, place) not in self._readers:
            model, key = self._job.models[place], self._job.aligned.keys[index]
            self._readers[index, place] = model.reader(key, self._scratch)
        return self._readers[index, place]


def _subtract(rows: Rows32, base: Rows32, out: Rows32) -> None:
    with np.errstate(all="ignore"):  # what is not finite is noticed in the sums
        np.subtract(rows, base, out=out)


def _without_base(sums: ChunkSums) -> ChunkSums:
    """The same without what is the base's alone, which is known."""
    gram, nonfinite = sums.gram.copy(), sums.nonfinite.copy()
    gram[0, 0] = nonfinite[0] = 0
    return replace(sums, gram=gram, nonfinite=nonfinite)
