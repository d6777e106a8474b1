"""The one way in which nodes merge: into memory or into a file, the same plan and the same run."""

from __future__ import annotations

from pathlib import Path

from ..orthomerge_core.execute.decomposition_cache import DecompositionCache
from ..orthomerge_core.execute.plan import plan_merge
from ..orthomerge_core.execute.result import MergeReport
from ..orthomerge_core.execute.run import run_merge
from ..orthomerge_core.execute.sinks import FileSink, StateDictSink
from ..orthomerge_core.io.hashing import HashMemo
from . import host
from .wire import RecipeWire

__all__ = ["merge_to"]


def merge_to(
    wire: RecipeWire,
    dtype: str,
    device: str,
    node_id: str | None,
    target: Path | None = None,
) -> tuple[MergeReport, StateDictSink | FileSink]:
    """Plan and run a recipe; without a `target` the result stays in memory.

    Raises: PlanError with everything that is wrong, before a tensor is read.
    """
    chosen, progress = host.torch_device(device), host.HostProgress(node_id)
    sink = StateDictSink() if target is None else FileSink(target)
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, target=target) as plan:
        host.free_memory(plan.estimate.ram_bytes, chosen)
        report = run_merge(
            plan,
            sink,
            progress=progress,
            device=chosen,
            cache=DecompositionCache(host.cache_dir("decompositions")),
            memo=HashMemo(host.cache_dir("hashes")),
            provenance=host.metadata_allowed(),
        )
    progress.finish()
    return report, sink
