"""The streaming pass: reads every float tensor of a set once, in chunks, and sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..concurrency.device import usable_device
from ..concurrency.pool import Ticker, default_workers, run_pool
from ..errors import AnalysisError, shown_value
from ..io.hash_memo import HashMemo
from ..keys.aligned import AlignedSet
from ..keys.content import (
    diffusion_part,
    model_content_hash,
    recall_hashes,
    remember_hashes,
)
from ..keys.reading import key_bytes, key_groups, total_bytes
from ..progress import OnlyChecks, Progress
from ..recipe.model import BASE
from .accumulator import Accumulator
from .kernel import padded
from .result import Analysis
from .rounding import measure_rounding
from .spectrum import Energies, sample_spectra, spectra_cost
from .summing import Engine, Summer, engine_for

__all__ = ["MAX_CHUNK", "analyze", "check_arguments", "content_hashes"]

MAX_CHUNK = 1 << 22
"""Counts within one chunk must stay exact in float32."""


def analyze(
    aligned: AlignedSet,
    *,
    rank_samples: int = 5,
    chunk_elements: int = 262144,
    threads: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    known_spectra: Mapping[str, Mapping[str, Energies]] | None = None,
    memo: HashMemo | None = None,
) -> Analysis:
    """Sum a set of models against their base; see `Analysis` for what comes back.

    Args:
        aligned: the opened set.
        rank_samples: how many of the largest matrices get a spectrum; 0 skips spectra.
        chunk_elements, threads, device: change memory and time only, beyond the stated accuracy.
            A chunk is rounded up to a multiple of 4096, so that sums are cut at the same places
            whatever its size; `threads` defaults to the cores this process may use, at most 8.
        progress: told in bytes read; spectra count as the bytes that could be read meanwhile.
        known_spectra: model name → key → energies from an earlier analysis of the same files.
        memo: where content hashes are remembered.

    Delta norms are within 1e-5 relative and cosines within 1e-4 absolute of float64, down to
    ‖D‖/‖W‖ = 1e-4. A key that a model lacks counts as D = 0 for it. Memory: threads × (N + 1) ×
    chunk_elements × 6 bytes, and for spectra one matrix in float32 and its smaller-side Gram.

    Raises `AnalysisError` for an empty set or impossible arguments, whatever reading raises, and
    what `progress` raises to stop.
    """
    check_arguments(aligned, rank_samples, chunk_elements, threads)
    target, known = usable_device(device), known_spectra or {}
    progress = progress or Progress()
    recall_hashes((aligned.base, *aligned.models), memo)
    sums = Accumulator(aligned)
    work = total_bytes(aligned) + spectra_cost(aligned, rank_samples, known)
    progress.start(work, "Analyzing")
    engine = engine_for(target, aligned, progress)
    run_pool(
        key_groups(aligned),
        lambda: _worker(aligned, sums, padded(min(chunk_elements, MAX_CHUNK)), engine),
        threads or default_workers(),
        progress,
    )
    spectra = sample_spectra(aligned, rank_samples, target, progress, known)
    found = sums.result(spectra, content_hashes(aligned, memo, progress))
    return replace(found, rounding=measure_rounding(aligned, found.gram, progress))


def content_hashes(
    aligned: AlignedSet,
    memo: HashMemo | None,
    progress: Progress,
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Content hashes of the diffusion models from the bytes that passed by; only what the pass did
    not read is read now.

    `known`: hashes of an earlier analysis of the same files, by name.
    """
    found = dict(known or {})
    for model in (aligned.base, *aligned.models):
        progress.check()
        model.source.check_unchanged()
        name = BASE if model is aligned.base else model.name
        if not found.get(name):
            if memo:
                remember_hashes(model, memo)
            found[name] = model_content_hash(
                diffusion_part(aligned, model), memo, OnlyChecks(progress)
            )
    return found


def check_arguments(
    aligned: AlignedSet, rank_samples: int, chunk: int, threads: int | None
) -> None:
    """`AnalysisError` for an empty set or impossible arguments."""
    if not aligned.models:
        raise AnalysisError(
            "the set has no model beside its base",
            expected="at least 1 model",
            received="0",
            fix="Add a fine-tune of the base to the set.",
        )
    for name, value, least in (
        ("rank_samples", rank_samples, 0),
        ("chunk_elements", chunk, 1),
        ("threads", 1 if threads is None else threads, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise AnalysisError(
                name,
                expected=f"a whole number of at least {least}",
                received=shown_value(value),
                fix="Leave it out for the default.",
            )


def _worker(
    aligned: AlignedSet, sums: Accumulator, chunk: int, engine: Engine
) -> Callable[[list[int], Ticker], None]:
    """A function that sums one group of keys, with its own buffers."""
    models = (aligned.base, *aligned.models)
    longest = max((aligned.numel(key) for key in aligned.keys), default=0)
    summer = Summer(engine, len(models), padded(max(1, min(chunk, longest))))

    def sum_key(index: int, tick: Ticker) -> None:
        key = aligned.keys[index]
        places = [i for i, m in enumerate(models) if m.has(key)]
        sum_chunk = summer.tensor(key, [models[i] for i in places])
        cost, total = sum(key_bytes(models[i], key) for i in places), aligned.numel(key)
        for start in range(0, total, chunk):
            size = min(chunk, total - start)
            sums.add(index, places, sum_chunk(start, size))
            tick(cost * size / total)

    def work(group: list[int], tick: Ticker) -> None:
        for index in group:
            sum_key(index, tick)

    return work
