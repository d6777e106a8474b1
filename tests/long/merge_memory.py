"""Peaks of merges beside what their plans say, in a process of its own.

python -m tests.long.merge_memory FOLDER  (Linux; JSON on stdout)

The folder holds `recipe.json` with its files, and `small/` with the same in small, which is merged
first so that code and libraries are loaded.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from orthomerge_core import api

MIB = float(1 << 20)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def measured(recipe: Path) -> tuple[float, float]:
    """What the plan says, and by how much the merge raised resident memory, in MiB."""
    target = recipe.with_name("out.safetensors")
    small = recipe.parent / "small"
    api.merge(small / recipe.name, small / target.name, overwrite=True)
    gc.collect()
    with api.plan(recipe, target, overwrite=True) as plan:
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        api.run(plan)
        return plan.estimate.ram_bytes / MIB, (_status("VmHWM") - before) / MIB


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(Path(sys.argv[1]) / "recipe.json")))
