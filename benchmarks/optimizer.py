"""How far the delta-base searches stay from the optimum, and how long they take.

    python benchmarks/optimizer.py [--trees 1000] [--json FILE]

Random families: every model grows from a random earlier one, by a step of random length along its
own random direction plus a random share of three directions that the family has in common. Regret
is the total orthogonality (0..1) that a search lacks to the best of all admissible assignments.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orthomerge_core.optimize.geometry import Geometry
from orthomerge_core.optimize.search import exhaustive_search, local_search
from orthomerge_core.optimize.settings import OptimizeSettings
from orthomerge_core.optimize.tree import nearest_tree
from orthomerge_core.progress import Progress

SIZE = 256
QUANTILES = (50, 90, 99, 100)


def random_family(rng: np.random.Generator, models: int) -> Geometry:
    """Geometry of a family with a random history."""
    shared = rng.standard_normal((3, SIZE))
    grown = [np.zeros(SIZE)]
    for i in range(models):
        own = rng.standard_normal(SIZE) + rng.normal(0.0, 0.6, 3) @ shared
        grown.append(grown[int(rng.integers(0, i + 1))] + rng.uniform(0.3, 1.5) * own)
    deltas = np.stack(grown)
    return Geometry.of(deltas @ deltas.T)


def regrets(trees: int, seed: int = 0) -> dict[str, Any]:
    """Regret of the tree and of local search over `trees` families of 4 to 7 models."""
    rng = np.random.default_rng(seed)
    settings, silent = OptimizeSettings(min_gain=0.0), Progress()
    kept = OptimizeSettings()
    found: dict[str, list[float]] = {"spanning tree": [], "local search": [], "exhaustive": []}
    leads = []
    for _ in range(trees):
        geometry = random_family(rng, int(rng.integers(4, 8)))
        best = exhaustive_search(geometry, settings, silent)
        start = nearest_tree(geometry)
        found["spanning tree"].append(best.best - geometry.objective(start))
        local = local_search(geometry, start, kept, silent)
        found["local search"].append(best.best - local.objective)
        found["exhaustive"].append(best.best - exhaustive_search(geometry, kept, silent).objective)
        leads.append(best.best - (best.second_best or 0.0))
    rows = {name: _summary(np.asarray(values)) for name, values in found.items()}
    return {"trees": trees, "regret": rows, "lead_of_best_median": float(np.median(leads))}


def _summary(values: NDArray[np.float64]) -> dict[str, float]:
    """Share without regret (below the gain that counts) and quantiles."""
    low = {f"p{q}": float(np.percentile(values, q)) for q in QUANTILES}
    return {"none": float((values <= 1e-3).mean()), **low}


def timings(seed: int = 1) -> dict[str, float]:
    """Seconds of a search by number of models, best of three; local above 7."""
    rng, silent, out = np.random.default_rng(seed), Progress(), {}
    for models in (4, 7, 8, 16, 32):
        geometry = random_family(rng, models)
        runs = []
        for _ in range(3):
            begin = time.perf_counter()
            if models <= 7:
                exhaustive_search(geometry, OptimizeSettings(), silent)
            local_search(geometry, nearest_tree(geometry), OptimizeSettings(), silent)
            runs.append(time.perf_counter() - begin)
        out[str(models)] = min(runs)
    near = np.ones((8, SIZE)) + 1e-2 * rng.standard_normal((8, SIZE))
    near[0] = 0.0
    begin = time.perf_counter()
    exhaustive_search(Geometry.of(near @ near.T), OptimizeSettings(), silent)
    out["7, all 262,144 trees admissible"] = time.perf_counter() - begin
    return out


def main() -> None:
    """Print both tables; write them as JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=1000, help="number of random families")
    parser.add_argument("--json", type=Path, help="write the figures here")
    chosen = parser.parse_args()
    result = regrets(chosen.trees) | {"seconds": timings()}
    print(f"Regret over {chosen.trees} random families of 4 to 7 models")
    print(f"{'':>16}  {'<= 0.001':>9}  " + "  ".join(f"{f'p{q}':>8}" for q in QUANTILES))
    for name, row in result["regret"].items():
        cells = "  ".join(f"{row[f'p{q}']:8.5f}" for q in QUANTILES)
        print(f"{name:>16}  {row['none']:9.1%}  {cells}")
    for models, seconds in result["seconds"].items():
        print(f"N = {models}: {1000 * seconds:.1f} ms")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
