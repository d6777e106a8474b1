"""Whole processes side by side: ours, sd-mecha and, where it is installed, mergekit-pytorch.

    python benchmarks/whole_process.py [--mib 400] [--models 4] [--runs 3] [--json out.json]

Each figure is the least of `--runs` processes over the same bf16 files in the system's cache: wall
time, processor time and peak memory, start-up included; hashes of all sources, provenance and
durable writing are part of ours. The table gives processor seconds beyond a bare `import torch` as
well. The machine's load is printed before and after: above one task per core wall times say little,
processor times a little more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
SIDE = 2048
METHODS: dict[str, dict[str, Any]] = {
    "average": {},
    "task_arithmetic": {},
    "slerp": {},
    "ties": {"density": 0.2},
    "model_stock": {},
}
MERGEKIT = {"average": "linear", "slerp": "slerp", "ties": "ties", "model_stock": "model_stock"}
MERGEKIT |= {"task_arithmetic": "task_arithmetic"}


def main() -> None:
    """Print a table of all methods and tools."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mib", type=int, default=400)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--mecha", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.mecha:
        sd_mecha_merge(args.mecha[0], Path(args.mecha[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_family(folder, args.mib, args.models)
        found = {"import torch": best([sys.executable, "-c", "import torch"], folder, args.runs)}
        print(f"{datetime.now(UTC):%d %B %Y}, {features()}, load {os.getloadavg()[0]:.1f}")
        for method in METHODS:
            for tool, command in commands(method, folder).items():
                found[f"{method}, {tool}"] = best(command, folder, args.runs)
        print(f"load {os.getloadavg()[0]:.1f} at the end\n")
    print("| what | wall s | CPU s | CPU s beyond `import torch` | peak MiB |")
    print("|---|---:|---:|---:|---:|")
    bare = found["import torch"]["cpu_s"]
    for what, one in found.items():
        print(
            f"| {what} | {one['wall_s']:.2f} | {one['cpu_s']:.2f} | {one['cpu_s'] - bare:.2f} "
            f"| {one['peak_mib']:.0f} |"
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def features() -> str:
    """The processor and what decides its speed here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{os.cpu_count()} cores"
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    flags = named.get("flags", "").split()
    known = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    return f"{os.cpu_count()} × {named.get('model name', 'unknown')} ({', '.join(known)})"


def write_family(folder: Path, mib: int, models: int) -> None:
    """A base, its fine-tunes, a recipe per method, and mergekit's configurations."""
    generator = torch.Generator().manual_seed(0)
    count = max(1, mib * 2**20 // (2 * SIDE * SIDE))
    base = [torch.randn(SIDE, SIDE, generator=generator) for _ in range(count)]
    names = [f"m{i}" for i in range(models)]
    for name in ("base", *names):
        moved = 0.0 if name == "base" else 0.02
        tensors = {
            f"blocks.{i}.weight": (b + moved * torch.randn(b.shape, generator=generator)).bfloat16()
            for i, b in enumerate(base)
        }
        save_file(tensors, folder / f"{name}.safetensors")
    for method, options in METHODS.items():
        used = names[:1] if method == "slerp" else names
        rows = [{"model": name, "alpha": 0.5 if method == "slerp" else 1.0} for name in used]
        recipe = {
            "base": "base.safetensors",
            "models": {name: {"file": f"{name}.safetensors"} for name in used},
            "rows": rows,
            "method": method,
            "options": options,
        }
        (folder / f"{method}.json").write_text(json.dumps(recipe), encoding="utf-8")
        told = mergekit_config(folder, method, used)
        (folder / f"{method}.yml").write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML


def mergekit_config(folder: Path, method: str, used: list[str]) -> dict[str, Any]:
    """The same merge for mergekit-pytorch."""
    paths = [str(folder / f"{name}.safetensors") for name in used]
    base = str(folder / "base.safetensors")
    told: dict[str, Any] = {"merge_method": MERGEKIT[method], "dtype": "bfloat16"}
    if method == "slerp":
        return told | {"models": [{"model": base}, {"model": paths[0]}], "base_model": base,
                       "parameters": {"t": 0.5}}  # fmt: skip
    each: dict[str, float] = {"weight": 1.0} if method != "model_stock" else {}
    if method == "ties":
        each["density"] = 0.2
    models = [{"model": path, **({"parameters": each} if each else {})} for path in paths]
    return told | {"models": models} | ({} if method == "average" else {"base_model": base})


def commands(method: str, folder: Path) -> dict[str, list[str]]:
    """Tool → the command that runs this method."""
    out = str(folder / "out.safetensors")
    found = {
        "ours": [
            *(sys.executable, "-m", "orthomerge_core", "merge", str(folder / f"{method}.json")),
            *("-o", out, "--overwrite", "-q", "--no-cache"),
        ],
        "sd-mecha": [sys.executable, __file__, "--mecha", method, str(folder)],
    }
    if shutil.which("mergekit-pytorch"):
        found["mergekit"] = ["mergekit-pytorch", str(folder / f"{method}.yml"), str(folder / "mk")]
    return found


def sd_mecha_merge(method: str, folder: Path) -> None:
    """The merge in sd-mecha's own methods; differences and their sums are in its delta space."""
    import sd_mecha
    from sd_mecha.extensions import merge_methods

    from orthomerge_core.mecha import register_config

    files = sorted(folder.glob("m[0-9]*.safetensors"))
    config = register_config(folder / "base.safetensors")
    base = sd_mecha.model(folder / "base.safetensors", config)
    models = [sd_mecha.model(path, config) for path in files]
    deltas = [sd_mecha.subtract(model, base) for model in models]
    call, add = merge_methods.resolve, merge_methods.resolve("add_difference")
    if method == "average":
        recipe = sd_mecha.n_average(*models)
    elif method == "slerp":
        recipe = sd_mecha.slerp(base, models[0], alpha=0.5)
    elif method == "task_arithmetic":
        recipe = base
        for delta in deltas:
            recipe = add(recipe, delta, alpha=1.0)
    elif method == "ties":
        recipe = add(base, call("ties_sum")(*deltas, k=0.2, vote_sgn=True), alpha=1.0)
    else:
        recipe = add(base, call("model_stock")(*deltas), alpha=1.0)
    out = folder / "out.safetensors"
    sd_mecha.merge(recipe, output=out, output_dtype=torch.bfloat16, merge_device="cpu")


_RUN = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
if done.returncode:
    sys.exit(done.stderr.decode()[-2000:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
wall_s, cpu_s = time.perf_counter() - begun, used.ru_utime + used.ru_stime
print(json.dumps([wall_s, cpu_s, used.ru_maxrss / 1024]))
"""
"""Runs one command under a process of its own, whose children's usage is this command's alone."""


def best(command: list[str], folder: Path, runs: int) -> dict[str, float]:
    """Least wall time, processor time and peak memory of some processes."""
    for path in folder.glob("*.safetensors"):
        path.read_bytes()
    found, env = [], os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(runs):
        call = [sys.executable, "-c", _RUN, *command]
        done = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{command[:6]} failed:\n{done.stderr}")
        found.append(json.loads(done.stdout))
    wall_s, cpu_s, peak_mib = (min(column) for column in zip(*found, strict=True))
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mib": peak_mib}


if __name__ == "__main__":
    main()
