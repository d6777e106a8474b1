"""What a merge will need: bytes to read and write, memory, time; from numbers alone."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...concurrency.pool import default_workers, usable_cores
from ...io.quant.encoder import ENCODED_AT_ONCE
from ...linalg.gram import CHUNK
from ...methods.contract import LinearMethod, Method
from .destination import free_bytes

__all__ = ["TOGETHER_BYTES", "Estimate", "Workload", "estimate", "memory_notes"]

TOGETHER_BYTES = 6 << 30
"""Most bytes that tensors which are merged whole at the same time may hold together."""

_READ_BYTES_PER_S = 1.5e9
_AGAIN_BYTES_PER_S = 8e9  # a tensor that was read a moment ago lies in the system's cache
_WRITE_BYTES_PER_S = 1.0e9
_FLOPS_PER_S = 4e10
_MIB = float(1 << 20)
_ENCODING = 40  # bytes that encoding holds of each value of a piece, at most


@dataclass(frozen=True)
class Workload:
    """The numbers behind an estimate.

    `shapes` of the tensors that the method changes; `largest`, `largest_scaled`: elements of the
    largest tensor that anything changes, and of the largest that is quantized; `whole_bytes`
    of each tensor that anything changes.
    """

    method: Method
    models: int
    rows: int
    read_bytes: int
    output_bytes: int
    shapes: tuple[tuple[int, ...], ...]
    largest: int
    largest_scaled: int
    whole_bytes: tuple[int, ...]
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
    """Bytes, memory and time of a merge."""
    linear = isinstance(work.method, LinearMethod)
    twice = isinstance(work.method, LinearMethod) and work.method.needs_gram
    seconds = work.read_bytes / _READ_BYTES_PER_S + work.output_bytes / _WRITE_BYTES_PER_S
    seconds += work.read_bytes / _AGAIN_BYTES_PER_S if twice else 0.0
    if not linear:
        seconds += sum(work.method.flops(s, work.rows) for s in work.shapes) / _FLOPS_PER_S
    free = None if work.target is None else free_bytes(work.target)
    ram = _linear_bytes(work) if linear else _whole_bytes(work)
    return Estimate(work.read_bytes, work.output_bytes, ram, seconds, free)


def _linear_bytes(work: Workload) -> int:
    """Every thread's chunks of base, models, rows and result, and the largest quantized tensor:
    its values, its stored numbers, and what encoding a piece of it takes."""
    width = work.models + work.rows + 4
    scaled = 5 * work.largest_scaled + _ENCODING * min(ENCODED_AT_ONCE, work.largest_scaled)
    each = 4 * width * min(CHUNK, work.largest) + scaled
    return default_workers() * each


def _whole_bytes(work: Workload) -> int:
    """As many of the largest tensors as are held together."""
    each = sorted(work.whole_bytes, reverse=True)
    together = sum(each[: usable_cores() + 1])
    return max(each[0], min(together, TOGETHER_BYTES)) if each else 0


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
