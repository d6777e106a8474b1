"""How fast linear merges stream: ours, the floor of the disk, and sd-mecha, on the same files.

    python benchmarks/merge.py [--mib 400] [--models 4] [--json merge.json]

The floor reads every file once and writes one result, nothing else. Every figure is the best of
`--runs`, files in the system's cache; the peak is that of a process of its own, less what the
interpreter with torch and this package needs before the merge.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
METHODS = ("task_arithmetic", "average", "orthogonal_projection", "orthogonal_projection symmetric")
SIDE = 3072


def make_models(folder: Path, mib: int, models: int) -> list[Path]:
    """A base and fine-tunes of 2 %, bf16, Flux-like shapes."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    layers = max(1, round(mib * 2**20 / (2 * SIDE * SIDE)))
    base = {f"blocks.{i}.attn.weight": torch.randn(SIDE, SIDE).mul_(0.02) for i in range(layers)}
    paths = []
    for name in ("base", *(f"m{i}" for i in range(models))):
        moved = {
            k: (t if name == "base" else t + 4e-4 * torch.randn_like(t)).bfloat16()
            for k, t in base.items()
        }
        paths.append(folder / f"{name}.safetensors")
        save_file(moved, paths[-1])
    return paths


def floor(paths: list[Path], out: Path) -> dict[str, float]:
    """Seconds to read every file once and write one result, durable."""
    buffer = bytearray(1 << 20)
    begun, spent = time.perf_counter(), time.process_time()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    left = paths[0].stat().st_size
    with out.open("wb", buffering=0) as file:
        while left > 0:
            left -= file.write(memoryview(buffer)[: min(left, len(buffer))])
        os.fsync(file.fileno())
    seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
    out.unlink()
    return {"seconds": seconds, "cpu_seconds": cpu, "extra_mib": 0.0}


def ours(paths: list[Path], out: Path, method: str) -> dict[str, float]:
    """Seconds and MiB beyond the start of one merge, plan, hashes and retention included."""
    from orthomerge_core.execute.plan import plan_merge
    from orthomerge_core.execute.provenance import header_metadata
    from orthomerge_core.execute.result import peak_rss_mib
    from orthomerge_core.execute.run import run_merge
    from orthomerge_core.execute.sinks import FileSink
    from orthomerge_core.keys.opening import spec_from_paths
    from orthomerge_core.recipe.model import ModelRef, Recipe, Row

    name, _, variant = method.partition(" ")
    spec = spec_from_paths(paths[0], paths[1:])
    recipe = Recipe(
        base=paths[0].name,
        models={m.name: ModelRef(m.file) for m in spec.models},
        rows=tuple(Row(m.name, alpha=0.5) for m in spec.models),
        method=name,
        options={"variant": variant} if variant else {},
    )
    with plan_merge(recipe, spec, target=out) as plan:
        header_metadata(plan)  # loads sd-mecha once, for the recipe in the header
    before = peak_rss_mib() or 0.0
    begun, spent = time.perf_counter(), time.process_time()
    with plan_merge(recipe, spec, target=out) as plan:
        run_merge(plan, FileSink(out))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
    return {"seconds": seconds, "cpu_seconds": cpu, "extra_mib": (peak_rss_mib() or 0.0) - before}


def sd_mecha_average(paths: list[Path], out: Path) -> dict[str, float]:
    """The same files through sd-mecha's n_average."""
    import sd_mecha

    from orthomerge_core.execute.result import peak_rss_mib
    from orthomerge_core.mecha import register_config

    config = register_config(paths[0])
    models = [sd_mecha.model(path, config) for path in paths[1:]]
    before = peak_rss_mib() or 0.0
    begun, spent = time.perf_counter(), time.process_time()
    sd_mecha.merge(sd_mecha.n_average(*models), output=out, merge_device="cpu")
    seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
    return {"seconds": seconds, "cpu_seconds": cpu, "extra_mib": (peak_rss_mib() or 0.0) - before}


def in_process(task: str, paths: list[Path], out: Path) -> dict[str, float]:
    """Run one task in a process of its own, so that its peak is its own."""
    names = [str(path) for path in paths]
    call = [sys.executable, __file__, "--task", task, "--files", *names, "--out", str(out)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    out.unlink(missing_ok=True)
    if done.returncode:
        sys.exit(f"{task} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def best(task: str, paths: list[Path], out: Path, runs: int) -> dict[str, float]:
    """The fastest of several runs."""
    return min((in_process(task, paths, out) for _ in range(runs)), key=lambda r: r["seconds"])


def run_task(task: str, paths: list[Path], out: Path) -> None:
    """One measurement, as JSON on the last line of stdout."""
    if task == "floor":
        result = floor(paths, out)
    elif task == "sd-mecha":
        result = sd_mecha_average(paths, out)
    else:
        result = ours(paths, out, task)
    print(json.dumps(result))


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=400, help="size of each model")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        run_task(args.task, args.files, args.out)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_models(folder, args.mib, args.models)
        out = folder / "result.safetensors"
        tasks = ("floor", *METHODS)
        results = {task: best(task, paths, out, args.runs) for task in tasks}
        results["sd-mecha n_average"] = best("sd-mecha", paths, out, 1)
    low, slow = results["floor"]["seconds"], results["sd-mecha n_average"]["seconds"]
    print(f"{args.models} models of {args.mib} MiB, {os.cpu_count()} cores")
    print("| what | seconds | × floor | sd-mecha / it | CPU s | peak MiB beyond the interpreter |")
    print("|---|---:|---:|---:|---:|---:|")
    for task, result in results.items():
        seconds = result["seconds"]
        cells = f"{seconds:.2f} | {seconds / low:.2f} | {slow / seconds:.1f}"
        print(f"| {task} | {cells} | {result['cpu_seconds']:.2f} | {result['extra_mib']:.0f} |")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
