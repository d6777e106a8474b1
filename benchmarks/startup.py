"""What the shell costs before it works: help, wrong usage and a tiny merge against `import torch`.

    python benchmarks/startup.py [--runs 5]

Each figure is the least of `--runs` processes; ratios are to `python -c "import torch"` in the same
run. Processor time is steadier than wall time on a machine that does other things as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
SIDE = 512  # four bf16 matrices of that side and length: 4 MB a model
MODELS = ("base", "a", "b", "c")


def main() -> None:
    """Print one line per command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_family(folder)
        shell = [sys.executable, "-m", "orthomerge_core"]
        merge = [*shell, "merge", str(folder / "r.json"), "--overwrite", "-q", "--no-cache", "-o"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "--help": [*shell, "--help"],
            "merge --help": [*shell, "merge", "--help"],
            "wrong usage": [*shell, "merge", "r.json"],
            "recipe that does not exist": [*shell, "merge", "gone.json", "-o", "out.safetensors"],
            "average of three 4 MB models": [*merge, str(folder / "out.safetensors")],
        }
        reference = None
        for label, command in commands.items():
            cpu_s, wall_s = least(command, runs)
            reference = reference or (cpu_s, wall_s)
            print(
                f"{label:30} CPU {cpu_s:5.2f} s {cpu_s / reference[0]:5.2f} x"
                f"   wall {wall_s:5.2f} s {wall_s / reference[1]:5.2f} x"
            )


def write_family(folder: Path) -> None:
    """A base, three models and a recipe that averages them."""
    generator = torch.Generator().manual_seed(0)
    for name in MODELS:
        tensors = {
            f"blocks.{i}.weight": torch.randn(SIDE, 2 * SIDE, generator=generator).bfloat16()
            for i in range(4)
        }
        save_file(tensors, folder / f"{name}.safetensors")
    recipe = {
        "base": "base.safetensors",
        "models": {name: {"file": f"{name}.safetensors"} for name in MODELS[1:]},
        "method": "average",
        "rows": [{"model": name} for name in MODELS[1:]],
    }
    (folder / "r.json").write_text(json.dumps(recipe), encoding="utf-8")


def least(command: list[str], runs: int) -> tuple[float, float]:
    """(processor seconds, wall seconds) of the cheapest of some processes."""
    cpu_s, wall_s = [], []
    for _ in range(runs):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall_s.append(time.perf_counter() - begun)
        spent = (after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)
        cpu_s.append(sum(spent))
    return min(cpu_s), min(wall_s)


if __name__ == "__main__":
    main()
