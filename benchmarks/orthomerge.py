"""OrthoMerge against the published scheme, written plainly: a matrix, then files by the engine.

    python benchmarks/orthomerge.py            d = 1024
    python benchmarks/orthomerge.py --full     d = 3072 (minutes)
    python benchmarks/orthomerge.py --dim 2048 --rows 6 --json out.json

Reference: per row one SVD of the d×d product and one Cayley solve each way, float32. Accuracy is
against the same formula, damped as ours, in float64 (skipped above d = 1024 unless --exact). The
engine merges bf16 files of square matrices into a file, in a process of its own: plan, read,
compute, measure, hash and write; first with an empty decomposition cache on the disk, then again
after a change of each setting that the decomposition does not depend on.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orthomerge_core.execute.caches import Caches
from orthomerge_core.execute.decomposition_cache import DecompositionCache
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.methods.contract import DecomposedMethod, Rows
from orthomerge_core.methods.registry import get_method
from orthomerge_core.recipe.model import ModelRef, Recipe, Row


def family(d: int, columns: int, rows: int, size: float) -> tuple[Tensor, list[Tensor]]:
    """A random base [d, columns] and unrelated deltas of `size` times its norm."""
    g = torch.Generator().manual_seed(0)
    base = torch.randn(d, columns, generator=g)
    return base, [size * torch.randn(d, columns, generator=g) for _ in range(rows)]


def published(
    base: Tensor, deltas: list[Tensor], alphas: list[float], damping: float = 0.0
) -> Tensor:
    """SVD, Cayley, magnitude-corrected mean, Cayley back, residuals; one line per step."""
    eye = torch.eye(len(base), dtype=base.dtype)
    shift = damping * base.square().sum() / len(base)
    generators, residuals = [], []
    for delta, alpha in zip(deltas, alphas, strict=True):
        left, _, right = torch.linalg.svd((base + delta) @ base.T + shift * eye)
        rotation = left @ right
        if torch.linalg.slogdet(rotation).sign < 0:
            left[:, -1] *= -1
            rotation = left @ right
        skew = torch.linalg.solve(rotation + eye, rotation - eye)
        skew = 0.5 * (skew - skew.T)
        again = torch.linalg.solve(eye - skew, eye + skew)
        generators.append(alpha * skew)
        residuals.append(alpha * (base + delta - again @ base))
    total = sum(generators)
    angles = torch.stack([a.norm() for a in generators])
    mean = total / len(generators)
    joint = mean * min(float(angles.mean() / mean.norm()), len(generators) ** 0.5)
    rotation = torch.linalg.solve(eye - joint, eye + joint)
    return rotation @ base + sum(residuals) / len(residuals)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(d: int, columns: int, rows: int, size: float, exact: bool) -> dict[str, Any]:
    """One matrix: first run, re-run at other alphas, and the published scheme."""
    method = get_method("orthomerge")
    if not isinstance(method, DecomposedMethod):
        raise TypeError(method.name)
    base, deltas = family(d, columns, rows, size)
    ones, other = [1.0] * rows, [0.8, 0.5, 1.2, 0.3] * rows
    first, again = Rows(deltas, ones, [1] * rows), Rows(deltas, other[:rows], [1] * rows)
    method.merge(*_warm(), {}, torch.Generator())
    parts, decompose_s = timed(lambda: method.decompose(base, deltas, {}))
    merged, compose_s = timed(lambda: method.compose(base, first, parts, {}))
    _, rerun_s = timed(lambda: method.compose(base, again, parts, {}))
    peak = peak_mib()
    _, reference_s = timed(lambda: published(base, deltas, ones))
    first_s = decompose_s + compose_s
    result: dict[str, Any] = {
        "d": d,
        "columns": columns,
        "rows": rows,
        "delta": size,
        "threads": torch.get_num_threads(),
        "reference_s": reference_s,
        "first_s": first_s,
        "rerun_s": rerun_s,
        "reference / first": reference_s / first_s,
        "reference / rerun": reference_s / rerun_s,
        "first / rerun": first_s / rerun_s,
        "parts_mib": sum(p.numel() * p.element_size() for p in parts.values()) / 2**20,
        "rows not small": sum(f"generator.{i}" in parts for i in range(rows)),
        "peak_rss_mib": peak,
        "reference_peak_rss_mib": peak_mib(),
    }
    if exact:
        wide = [x.double() for x in deltas]
        truth = published(base.double(), wide, ones, damping=1e-3)
        change = (truth - base.double()).norm()
        result["error"] = float((merged.double() - truth).norm() / change)
    return result


def _warm() -> tuple[Tensor, Rows]:
    base, deltas = family(64, 64, 2, 0.02)
    return base, Rows(deltas, [1.0, 1.0], [1, 1])


def write_models(folder: Path, d: int, rows: int, tensors: int, size: float) -> None:
    """base.safetensors and model0 … in bf16, each of so many d×d matrices."""
    g = torch.Generator().manual_seed(0)
    base = {f"blocks.{i}.weight": torch.randn(d, d, generator=g) for i in range(tensors)}
    save_file({k: t.bfloat16() for k, t in base.items()}, folder / "base.safetensors")
    for row in range(rows):
        tuned = {k: t + size * torch.randn(d, d, generator=g) for k, t in base.items()}
        save_file({k: t.bfloat16() for k, t in tuned.items()}, folder / f"model{row}.safetensors")


def variants(rows: int) -> dict[str, Recipe]:
    """The recipe of the first run, and one for each thing that may change after it."""
    names = [f"model{i}" for i in range(rows)]
    first = Recipe(
        base="base.safetensors",
        models={name: ModelRef(f"{name}.safetensors") for name in names},
        rows=tuple(Row(name) for name in names),
        method="orthomerge",
    )

    def other(**fields: Any) -> Recipe:
        return replace(first, rows=(replace(first.rows[0], **fields), *first.rows[1:]))

    return {
        "first": first,
        "alpha": other(alpha=0.7),
        "repeat": other(repeat=2),
        "layers": other(layers="blocks.0=0.5"),
        "theta_agg": replace(first, options={"theta_agg": "max"}),
        "direction_weight": replace(first, options={"direction_weight": "equal"}),
    }


def engine(folder: Path, rows: int) -> dict[str, Any]:
    """Seconds of every variant from files to a file, and the process's peak memory."""
    resolve, target = FolderResolver([folder]), folder / "out" / "merged.safetensors"
    target.parent.mkdir(exist_ok=True)

    def merge(recipe: Recipe) -> None:
        spec = spec_from_recipe(recipe, resolve)
        memo = HashMemo(folder / "hashes")
        caches = Caches(memo=memo, decompositions=DecompositionCache(folder / "cache"))
        with plan_merge(recipe, spec, target=target, overwrite=True) as plan:
            run_merge(plan, caches)

    found: dict[str, Any] = {}
    merge(replace(variants(rows)["first"], method="task_arithmetic"))  # imports, and the page cache
    for name, recipe in variants(rows).items():
        _, found[f"{name}_s"] = timed(lambda recipe=recipe: merge(recipe))
    return found | {"peak_rss_mib": peak_mib()}


def measure_engine(
    folder: Path, d: int, rows: int, tensors: int, size: float, reference_s: float
) -> dict[str, Any]:
    """The engine in a process of its own, with what it gains over the first run and reference."""
    write_models(folder, d, rows, tensors, size)
    command = [sys.executable, __file__, "--rows", str(rows), "--engine", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = {"tensors": tensors, **json.loads(done.stdout)}
    total = reference_s * tensors
    found["reference / first"] = total / found["first_s"]
    again = [found[f"{name}_s"] for name in variants(rows) if name != "first"]
    found["reference / slowest re-run"] = total / max(again)
    found["first / slowest re-run"] = found["first_s"] / max(again)
    return found


def show(title: str, found: dict[str, Any]) -> None:
    """One figure a line."""
    print(title)
    for name, value in found.items():
        print(f"  {name:28} {value:.3g}" if isinstance(value, float) else f"  {name:28} {value}")


def main() -> None:
    """Print both tables, and write them as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="d = 3072, as in Flux and Chroma")
    parser.add_argument("--dim", type=int, default=0, help="the smaller side")
    parser.add_argument("--columns", type=int, default=0, help="the longer side (default: square)")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tensors", type=int, default=4, help="matrices in the engine's files")
    parser.add_argument("--delta", type=float, default=0.02, help="‖δ‖/‖W‖ of each row")
    parser.add_argument("--exact", action="store_true", help="compare with float64 at any d")
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--engine", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(engine(args.engine, args.rows)))
        return
    d = args.dim or (3072 if args.full else 1024)
    found = measure(d, args.columns or d, args.rows, args.delta, args.exact or d <= 1024)
    show("one matrix", found)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        run = measure_engine(
            Path(folder), d, args.rows, args.tensors, args.delta, found["reference_s"]
        )
    show("files through the engine", run)
    if args.json:
        both = {"matrix": found, "engine": run}
        args.json.write_text(json.dumps(both, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
