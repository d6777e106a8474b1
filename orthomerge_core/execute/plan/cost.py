"""Estimates for a merge: bytes to read and write, memory, time."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...concurrency.pool import default_workers, usable_cores
from ...io.quant.encoder import ENCODED_AT_ONCE
from ...linalg.compiled import WORTH_COMPILING_BYTES, can_compile
from ...linalg.gram import CHUNK
from ...methods.contract import LinearMethod, Method
from .destination import free_bytes

__all__ = [
    "TOGETHER_BYTES",
    "Estimate",
    "Need",
    "Workload",
    "estimate",
    "fills_memory",
    "has_room",
    "memory_notes",
    "need_of",
    "tensors_at_once",
]

TOGETHER_BYTES = 6 << 30
"""Most bytes that tensors which are merged whole at the same time may hold together."""

_MOST_AT_ONCE = 8
_READ_BYTES_PER_S = 1.5e9
_AGAIN_BYTES_PER_S = 8e9  # a tensor that was read a moment ago lies in the system's cache
_WRITE_BYTES_PER_S = 1.0e9
_FLOPS_PER_S = 4e10
_TENSOR_S = 1e-3  # what a tensor costs however small it is
_MIB = float(1 << 20)

# Bytes, measured on Linux with glibc.
_ENCODING = 20  # of each value of a piece that is quantized
_ROUNDING = 18  # of each value of a chunk that is cast: stored, widened, clipped, its error
_GRAM = 36  # of each value of a row that `BlockGram` holds at a time
_GRAM_PIECE = CHUNK // 2
_COMPILED_BYTES = 110 << 20  # compiled loops, once they are loaded
_BESIDE = 0.6  # tensors that are computed at once do not reach their peaks together
_HEAP_BYTES = 32 << 20  # smaller blocks stay with the thread that freed them, as glibc has it,
_KEPT = 2.0  # so that the threads together hold so many times what is in use
_AROUND_BYTES = 4 << 20  # threads, headers, hashes


@dataclass(frozen=True)
class Need:
    """Bytes of a tensor that is merged whole: `loaded` from its first read until it is stored,
    `work` beside them while it is computed, which takes `flops`."""

    loaded: int
    work: int
    flops: float

    @property
    def total(self) -> int:
        """Both."""
        return self.loaded + self.work


def need_of(method: Method, shape: tuple[int, ...], rows: int, buffers: int) -> Need:
    """The need of a tensor that has `buffers` float32 copies loaded and so many acting rows."""
    size = 4 * math.prod(shape)
    kept = _KEPT if size < _HEAP_BYTES else 1.0
    loaded, work = int(kept * buffers * size), int(kept * method.work_bytes(shape, rows))
    return Need(loaded, work, method.flops(shape, rows))


@dataclass(frozen=True)
class Workload:
    """The numbers behind an estimate.

    `buffers`: float32 copies of a chunk that a linear merge holds: base, models, rows, result.
    `shapes` of the tensors that the method changes; `tensors`: how many there are. `largest`,
    `largest_scaled`: elements of the largest tensor that anything changes, and of the largest that
    is quantized. `rounds`: whether anything is stored in fewer bits than float32. `wholes`: what
    each tensor that anything changes needs where it is merged whole, in their order.
    """

    method: Method
    rows: int
    buffers: int
    read_bytes: int
    output_bytes: int
    shapes: tuple[tuple[int, ...], ...]
    tensors: int
    largest: int
    largest_scaled: int
    rounds: bool
    wholes: tuple[Need, ...]
    target: Path | None


@dataclass(frozen=True)
class Estimate:
    """`ram_bytes` is what the merge holds beside the interpreter, without the result itself.

    `free_disk_bytes` is the room where the result goes; None for a merge in memory.
    """

    read_bytes: int = 0
    output_bytes: int = 0
    ram_bytes: int = 0
    seconds: float = 0.0
    free_disk_bytes: int | None = None

    def at_pace(self, factor: float) -> Estimate:
        """The same with `factor` times the seconds."""
        return replace(self, seconds=self.seconds * factor)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; memory and files in MiB, time in seconds."""
        return {
            "read_mib": round(self.read_bytes / _MIB, 1),
            "output_mib": round(self.output_bytes / _MIB, 1),
            "ram_mib": round(self.ram_bytes / _MIB, 1),
            "seconds": round(self.seconds, 1),
            "free_disk_mib": None
            if self.free_disk_bytes is None
            else round(self.free_disk_bytes / _MIB, 1),
        }


def estimate(work: Workload) -> Estimate:
    """Bytes, memory and time of a merge, the time at the pace of a common desktop computer."""
    linear = isinstance(work.method, LinearMethod)
    twice = isinstance(work.method, LinearMethod) and work.method.needs_gram
    seconds = work.read_bytes / _READ_BYTES_PER_S + work.output_bytes / _WRITE_BYTES_PER_S
    seconds += work.read_bytes / _AGAIN_BYTES_PER_S if twice else 0.0
    seconds += _TENSOR_S * work.tensors
    if not linear:
        seconds += sum(work.method.flops(s, work.rows) for s in work.shapes) / _FLOPS_PER_S
    free = None if work.target is None else free_bytes(work.target)
    ram = _AROUND_BYTES + (_linear_bytes(work, twice) if linear else _whole_bytes(work))
    return Estimate(work.read_bytes, work.output_bytes, ram, seconds, free)


def tensors_at_once() -> int:
    """How many tensors are merged whole at the same time on the CPU, each on one thread."""
    return min(usable_cores(), _MOST_AT_ONCE)


def _linear_bytes(work: Workload, twice: bool) -> int:
    """Every thread's chunks of base, models, rows and result, what measures rounding and the Gram,
    and the largest quantized tensor; with the compiled loops where they are worth it."""
    chunk = min(CHUNK, work.largest)
    each = 4 * work.buffers * chunk + _scaled_bytes(work)
    each += _ROUNDING * chunk if work.rounds else 0
    each += _GRAM * work.rows * min(_GRAM_PIECE, chunk) if twice else 0
    loops = _COMPILED_BYTES if work.read_bytes >= WORTH_COMPILING_BYTES and can_compile() else 0
    return min(default_workers(), max(work.tensors, 1)) * each + loops


def _scaled_bytes(work: Workload) -> int:
    """The largest quantized tensor while it is encoded: its values, its codes, and a piece."""
    piece = min(ENCODED_AT_ONCE, work.largest_scaled)
    return 5 * work.largest_scaled + _ENCODING * piece


def _whole_bytes(work: Workload) -> int:
    """The most that tensors hold together: they come in order, and leave as they are done."""
    at_once, most, now = tensors_at_once(), 0, 0.0
    turns = [0.0] * at_once  # when each thread is free
    inside: list[tuple[float, Need]] = []  # when a tensor is done
    for need in work.wholes:
        while inside and not has_room([n for _, n in inside], need, at_once):
            now = max(now, inside.pop(0)[0])
        done = max(now, turns[0]) + need.flops
        turns = sorted([*turns[1:], done])
        inside = sorted([*inside, (done, need)], key=lambda one: one[0])
        held = sum(n.loaded for _, n in inside)
        first, *others = sorted((n.work for _, n in inside[:at_once]), reverse=True)
        most = max(most, held + first + int(_BESIDE * sum(others)))
    return most + _scaled_bytes(work)


def has_room(inside: Sequence[Need], need: Need, at_once: int) -> bool:
    """Whether a tensor may be read while those inside are computed or wait for it."""
    return len(inside) <= at_once and sum(n.total for n in inside) + need.total <= TOGETHER_BYTES


def fills_memory(need: Need) -> bool:
    """Whether a tensor is too large to share the machine with another."""
    return need.total > TOGETHER_BYTES // 2


def memory_notes(costs: Estimate, *, in_memory: bool) -> list[str]:
    """A sentence where the machine has less memory free than the merge needs."""
    free = _available_bytes()
    need = costs.ram_bytes + (costs.output_bytes if in_memory else 0)
    if free is None or need <= free:
        return []
    return [
        f"About {math.ceil(need / _MIB)} MiB of memory are needed and "
        f"{math.floor(free / _MIB)} MiB are free: it may swap or fail."
    ]


def _available_bytes() -> int | None:
    """Memory that a process can have; Linux counts what its file cache would give back."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # not Linux
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
