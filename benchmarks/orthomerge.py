"""OrthoMerge of one weight matrix: this pack against the published scheme, written plainly.

    python benchmarks/orthomerge.py            d = 1024
    python benchmarks/orthomerge.py --full     d = 3072 (minutes)
    python benchmarks/orthomerge.py --dim 2048 --rows 6 --json out.json

Reference: per row one SVD of the d×d product and one Cayley solve each way, float32. Accuracy is
against the same formula, damped as ours, in float64 (skipped above d = 1024 unless --exact).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orthomerge_core.methods.contract import DecomposedMethod, Rows
from orthomerge_core.methods.registry import get_method


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


def measure(d: int, columns: int, rows: int, size: float, exact: bool) -> dict[str, Any]:
    """First run, re-run at other alphas, and the published scheme, on the same matrices."""
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
    _, reference_s = timed(lambda: published(base, deltas, ones))
    result: dict[str, Any] = {
        "d": d,
        "columns": columns,
        "rows": rows,
        "delta": size,
        "threads": torch.get_num_threads(),
        "reference_s": reference_s,
        "first_s": decompose_s + compose_s,
        "rerun_s": rerun_s,
        "first_speedup": reference_s / (decompose_s + compose_s),
        "rerun_speedup": reference_s / rerun_s,
        "rerun_over_first": (decompose_s + compose_s) / rerun_s,
        "parts_mib": sum(p.numel() * p.element_size() for p in parts.values()) / 2**20,
        "exact_rows": sum(name.startswith("generator.") for name in parts),
    }
    if exact:
        wide = [x.double() for x in deltas]
        truth = published(base.double(), wide, ones, damping=1e-3)
        change = (truth - base.double()).norm()
        result["error"] = float((merged.double() - truth).norm() / change)
    result["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def _warm() -> tuple[Tensor, Rows]:
    base, deltas = family(64, 64, 2, 0.02)
    return base, Rows(deltas, [1.0, 1.0], [1, 1])


def main() -> None:
    """Print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="d = 3072, as in Flux and Chroma")
    parser.add_argument("--dim", type=int, default=0, help="the smaller side")
    parser.add_argument("--columns", type=int, default=0, help="the longer side (default: square)")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--delta", type=float, default=0.02, help="‖δ‖/‖W‖ of each row")
    parser.add_argument("--exact", action="store_true", help="compare with float64 at any d")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    d = args.dim or (3072 if args.full else 1024)
    found = measure(d, args.columns or d, args.rows, args.delta, args.exact or d <= 1024)
    for name, value in found.items():
        print(f"{name:18} {value:.3g}" if isinstance(value, float) else f"{name:18} {value}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
