"""How much memory an extraction takes, measured in a process of its own.

python -m tests.core.lora.extract_memory FOLDER  (Linux; the test sets the allocator)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.linalg.low_rank import RankRule
from orthomerge_core.lora.extract import extract_lora
from tests.core.methods.work_bytes import _status as status

LAYERS, SIDE = 48, 512


def main() -> None:
    """Write the bytes by which an extraction raised the peak, and those of its result."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    draw = torch.Generator().manual_seed(0)
    for name in ("base", "model"):
        tensors = {
            f"blocks.{i}.weight": torch.randn(SIDE, SIDE, generator=draw) for i in range(LAYERS)
        }
        save_file(tensors, folder / f"{name}.safetensors")
        del tensors
    spec = spec_from_paths(folder / "base.safetensors", [folder / "model.safetensors"])
    with open_set(spec) as aligned:
        rule = RankRule("fixed", SIDE // 2 - 1, SIDE)
        extract_lora(aligned, "model", folder / "warm.safetensors", rule, dtype="fp32")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = status("VmRSS")
        found = extract_lora(aligned, "model", folder / "lora.safetensors", rule, dtype="fp32")
    sys.stdout.write(f"{status('VmHWM') - before} {found.n_bytes}")


if __name__ == "__main__":
    main()
