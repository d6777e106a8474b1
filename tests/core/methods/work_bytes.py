"""What methods hold while they merge one tensor, measured in a process of its own.

python -m tests.core.methods.work_bytes  (Linux; MALLOC_MMAP_THRESHOLD_ returns freed memory)
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import torch

from orthomerge_core.methods.contract import LinearMethod, Rows
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.methods.seeds import key_generator

CASES = {"square": ((1536, 1536), 4), "wide": ((512, 6144), 4), "vector": ((3_000_000,), 4)}


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def measured(method, shape: tuple[int, ...], rows: int) -> int:
    """Bytes by which one merge raised the peak of resident memory."""
    draw = torch.Generator().manual_seed(0)
    base = torch.randn(shape, generator=draw)
    deltas = [0.01 * torch.randn(shape, generator=draw) for _ in range(rows)]
    origins = [None, *(0.01 * torch.randn(shape, generator=draw) for _ in range(rows - 1))]
    held = Rows(deltas, [0.9] * rows, [1] * rows, origins)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    with torch.inference_mode():
        merged = method.merge(base, held, {}, key_generator("k", 0))
    assert merged.shape == base.shape
    return _status("VmHWM") - before


def main() -> None:
    """Write method → case → [measured, stated] as JSON; a first small call loads what it needs."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[int]]] = {}
    for name, method in all_methods().items():
        if isinstance(method, LinearMethod):
            continue
        measured(method, (64, 64), min(method.max_rows or 4, 4))
        for case, (shape, most) in CASES.items():
            rows = min(method.max_rows or most, most)
            held = measured(method, shape, rows)
            found.setdefault(name, {})[case] = [held, method.work_bytes(shape, rows)]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
