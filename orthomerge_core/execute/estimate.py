"""What a merge will need: bytes to read and write, memory, time. Rough, from headers alone."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..concurrency.pool import default_workers, usable_cores
from ..io.dtypes import n_bytes_of
from ..methods.contract import LinearMethod
from .chunks import CHUNK
from .target import free_bytes

if TYPE_CHECKING:
    from .plan import Plan, TensorPlan

__all__ = ["TOGETHER_BYTES", "Estimate", "acting", "estimate", "read_bytes", "whole_bytes"]

TOGETHER_BYTES = 6 << 30
"""What tensors that are merged at the same time may hold together."""

_READ_BYTES_PER_S = 1.5e9
_AGAIN_BYTES_PER_S = 8e9  # a tensor that was read a moment ago lies in the system's cache
_WRITE_BYTES_PER_S = 1.0e9
_FLOPS_PER_S = 4e10
_OVERHEAD_BYTES = 48 << 20  # code loaded late, stacks of threads, the system's share of open files
_MIB = float(1 << 20)


@dataclass(frozen=True)
class Estimate:
    """`ram_bytes` is what the merge holds beside the interpreter, without the result itself.

    `free_disk_bytes` is the room where the result goes; None for a merge in memory.
    """

    read_bytes: int = 0
    output_bytes: int = 0
    ram_bytes: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
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


def acting(plan: Plan, tensor: TensorPlan) -> bool:
    """Whether anything may change this tensor."""
    return plan.texture is not None or any(tensor.alphas)


def read_bytes(plan: Plan, tensor: TensorPlan) -> int:
    """Stored bytes behind this tensor: the base's, and those of every model that is merged."""
    total = plan.aligned.base.entry(tensor.key).n_bytes
    for model in plan.models:
        if model.has(tensor.key):
            total += model.entry(tensor.key).n_bytes
    return total


def whole_bytes(plan: Plan, tensor: TensorPlan) -> int:
    """What a tensor that is merged whole holds: base, models, rows and twelve of its size more."""
    return 4 * tensor.numel * (len(plan.models) + len(plan.rows) + 12)


def estimate(plan: Plan) -> Estimate:
    """Sum up the plan's tensors."""
    n_read = sum(read_bytes(plan, tensor) for tensor in plan.tensors)
    n_read += sum(plan.aligned.base.entry(key).n_bytes for key in plan.aligned.carried)
    n_written = sum(n_bytes_of(dtype, shape) or 0 for dtype, shape in plan.layout().values())
    flops = sum(plan.method.flops(t.shape, len(plan.rows)) for t in plan.tensors if any(t.alphas))
    linear = isinstance(plan.method, LinearMethod)
    twice = isinstance(plan.method, LinearMethod) and plan.method.needs_gram
    seconds = n_read / _READ_BYTES_PER_S + n_written / _WRITE_BYTES_PER_S
    seconds += n_read / _AGAIN_BYTES_PER_S if twice else 0.0
    seconds += 0.0 if linear else flops / _FLOPS_PER_S
    ram = _ram_bytes(plan)
    notes = tuple(_memory_notes(plan, ram, n_written))
    free = None if plan.target is None else free_bytes(plan.target)
    return Estimate(n_read, n_written, ram, seconds, notes, free)


def _ram_bytes(plan: Plan) -> int:
    if isinstance(plan.method, LinearMethod):
        width = len(plan.models) + len(plan.rows) + 4
        largest = max((t.numel for t in plan.tensors if acting(plan, t)), default=0)
        scaled = max((t.numel for t in plan.tensors if t.stored.scaled), default=0)
        return default_workers() * 4 * (width * min(CHUNK, largest) + scaled)
    each = sorted((whole_bytes(plan, t) for t in plan.tensors if acting(plan, t)), reverse=True)
    together = sum(each[: usable_cores() + 1])
    return max(each[0], min(together, TOGETHER_BYTES)) if each else 0


def _memory_notes(plan: Plan, ram_bytes: int, output_bytes: int) -> list[str]:
    free = _available_bytes()
    need = ram_bytes + (output_bytes if plan.target is None else 0)
    if free is None or need <= free:
        return []
    return [
        f"About {math.ceil(need / _MIB)} MiB of memory are needed and "
        f"{math.floor(free / _MIB)} MiB are free: it may swap or fail."
    ]


def _available_bytes() -> int | None:
    """Memory that a process can have; Linux counts what its file cache would give back."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # not Linux
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
