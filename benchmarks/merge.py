"""How fast linear merges stream: ours, three floors, and sd-mecha, on the same files.

    python benchmarks/merge.py [--mib 400] [--models 4] [--runs 3] [--cold] [--json merge.json]

Every floor reads every file once and writes as many bytes as one result has, made durable, and does
nothing else: "floor" reads with safetensors and copies each tensor into memory, with torch's own
threads; "reader" reads with our reader, which hashes and upcasts to float32, a tensor per thread;
"raw" reads bytes into a buffer of 1 MiB on one thread, the least that a file costs. The merges
include planning, hashes of all sources and of the result, and measuring what is kept of each row;
"known files" were hashed before, by an analysis or an earlier merge, and are not hashed again;
"known rows" were merged before as well, with other alphas, and the Grams of their deltas kept.

Every figure is the best of `--runs`, each in a process of its own, files in the system's cache, or
on the disk only with `--cold`: then they have been dropped from the cache (Linux).
What a process loads once (sd-mecha, and compiled code where numba is installed) is loaded before,
and said below the table. The memory is the peak during the task less what the process held before.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from orthomerge_core.concurrency.pool import Ticker, run_pool, usable_cores
from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.deltas import CHUNK
from orthomerge_core.execute.linear.gram_cache import GramCache
from orthomerge_core.execute.linear.kernel import fused_kernel
from orthomerge_core.execute.output.provenance import header_metadata
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.keys.content import model_content_hash
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.progress import Progress
from orthomerge_core.recipe.model import ModelRef, Recipe, Row

METHODS = ("task_arithmetic", "average", "orthogonal_projection", "orthogonal_projection symmetric")
AGAIN = (
    "task_arithmetic, known files",
    "orthogonal_projection, known files",
    "orthogonal_projection, known rows",
    "orthogonal_projection symmetric, known rows",
)
SIDE = 3072


def make_models(folder: Path, mib: int, models: int) -> list[Path]:
    """A base and fine-tunes of 2 %, bf16, Flux-like shapes."""
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


def raw(paths: list[Path], out: Path) -> None:
    """Bytes into one buffer, and as many out as a result has."""
    buffer = bytearray(1 << 20)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    write(out, paths[0].stat().st_size)


def floor(paths: list[Path], out: Path) -> None:
    """Every tensor by safetensors, copied out of its mapped file."""
    for path in paths:
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118  # not a mapping
                file.get_tensor(key).clone()
    write(out, paths[0].stat().st_size)


def reader(paths: list[Path], out: Path) -> None:
    """Every tensor by our reader, in float32 chunks, a tensor per thread."""
    with open_set(spec_from_paths(paths[0], paths[1:])) as aligned:

        def worker() -> Callable[[str, Ticker], None]:
            buffer = torch.empty(CHUNK)

            def work(key: str, _tick: Ticker) -> None:
                total = aligned.numel(key)
                for start in range(0, total, CHUNK):
                    for model in (aligned.base, *aligned.models):
                        model.read_into(key, buffer[: total - start], start)

            return work

        run_pool(aligned.keys, worker, usable_cores(), Progress())
    write(out, paths[0].stat().st_size)


def write(out: Path, size: int) -> None:
    """A durable file of that many bytes."""
    buffer = memoryview(bytearray(1 << 20))
    with out.open("wb", buffering=0) as file:
        while size > 0:
            size -= file.write(buffer[:size])
        os.fsync(file.fileno())


def measured(task: Callable[[], None]) -> dict[str, float]:
    """Seconds, processor seconds and MiB of a task."""
    before = rss_mib()
    begun, spent = time.perf_counter(), time.process_time()
    task()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
    return {"seconds": seconds, "cpu_seconds": cpu, "extra_mib": peak_mib() - before}


def rss_mib(what: str = "VmRSS") -> float:
    """What the process holds now (Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith(what)), math.nan)


def peak_mib() -> float:
    """The most it held so far (Linux)."""
    return rss_mib("VmHWM")


def ours(paths: list[Path], out: Path, method: str) -> dict[str, float]:
    """One merge: plan, hashes and retention included."""
    name, _, rest = method.partition(",")
    name, _, variant = name.partition(" ")
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
        memo = HashMemo(None)
        caches = Caches(memo=memo, grams=GramCache(out.with_suffix(".grams")))
        for model in (plan.aligned.base, *plan.models) if rest else ():
            model_content_hash(model, memo)
    if rest == " known rows":
        rows = tuple(replace(row, alpha=1.0) for row in recipe.rows)
        with plan_merge(replace(recipe, rows=rows), spec, target=out) as plan:
            run_merge(plan, caches)
        out.unlink()
    begun = time.perf_counter()
    fused_kernel("BF16")
    load_s = time.perf_counter() - begun

    def merge() -> None:
        with plan_merge(recipe, spec, target=out) as plan:
            run_merge(plan, caches)

    return measured(merge) | {"load_s": load_s}


def sd_mecha_average(paths: list[Path], out: Path) -> dict[str, float]:
    """The same files through sd-mecha's n_average."""
    import sd_mecha

    from orthomerge_core.mecha import register_config

    config = register_config(paths[0])
    models = [sd_mecha.model(path, config) for path in paths[1:]]
    return measured(
        lambda: sd_mecha.merge(sd_mecha.n_average(*models), output=out, merge_device="cpu")
    )


def forget(path: Path) -> None:
    """Drop a file from the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_process(task: str, paths: list[Path], out: Path, cold: bool) -> dict[str, float]:
    """Run one task in a process of its own, so that its peak is its own."""
    for path in paths:
        if cold:
            forget(path)
        else:
            path.read_bytes()
    names = [str(path) for path in paths]
    call = [sys.executable, __file__, "--task", task, "--files", *names, "--out", str(out)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    out.unlink(missing_ok=True)
    shutil.rmtree(out.with_suffix(".grams"), ignore_errors=True)
    if done.returncode:
        sys.exit(f"{task} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def best(task: str, paths: list[Path], out: Path, runs: int, cold: bool) -> dict[str, float]:
    """The fastest of several runs."""
    found = (in_process(task, paths, out, cold) for _ in range(runs))
    return min(found, key=lambda result: result["seconds"])


FLOORS = {"floor": floor, "reader": reader, "raw": raw}


def run_task(task: str, paths: list[Path], out: Path) -> None:
    """One measurement, as JSON on the last line of stdout."""
    if task in FLOORS:
        result = measured(lambda: FLOORS[task](paths, out))
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
    parser.add_argument("--cold", action="store_true", help="files on the disk only")
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
        tasks = [*FLOORS, *METHODS, *([] if args.cold else AGAIN), "sd-mecha"]
        results = {task: best(task, paths, out, args.runs, args.cold) for task in tasks}
    seconds = {task: result["seconds"] for task, result in results.items()}
    where = "on the disk" if args.cold else "in the cache"
    size = f"{args.models} models of {args.mib} MiB {where}"
    print(f"{size}, {os.cpu_count()} cores, {time.strftime('%F')}")
    print("| what | seconds | CPU s | × floor | × reader | × raw | sd-mecha / it | MiB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for task, result in results.items():
        own = seconds[task]
        ratios = " | ".join(f"{own / seconds[name]:.2f}" for name in FLOORS)
        speed = f"{seconds['sd-mecha'] / own:.1f} | {result['extra_mib']:.0f}"
        print(f"| {task} | {own:.2f} | {result['cpu_seconds']:.2f} | {ratios} | {speed} |")
    print(f"Compiled code loads once in {results[METHODS[0]]['load_s']:.2f} s.")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
