"""The one way in which nodes merge: into memory or into a file, the same plan and the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..orthomerge_core.execute.again import merge_identity, store_again
from ..orthomerge_core.execute.decomposition_cache import DecompositionCache
from ..orthomerge_core.execute.gram_cache import GramCache
from ..orthomerge_core.execute.plan import Plan, plan_merge
from ..orthomerge_core.execute.result import MergeReport
from ..orthomerge_core.execute.run import run_merge
from ..orthomerge_core.execute.sinks import FileSink, Sink, StateDictSink
from ..orthomerge_core.io.hashing import HashMemo
from ..orthomerge_core.report.merge_text import plan_summary
from . import host
from .results import Results
from .wire import RecipeWire

__all__ = ["merge_to_file", "merge_to_model", "merge_unshared", "planned"]

_RESULTS = Results()  # weak references and names of what the nodes made, shared by their classes


def merge_to_model(
    wire: RecipeWire, dtype: str, device: str, node_id: str | None
) -> tuple[MergeReport, Any]:
    """Plan, merge into memory, and hand the tensors over as a MODEL.

    Raises: PlanError with everything that is wrong, before a tensor is read.
    """
    sink = StateDictSink()
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype) as plan:
        report = _result(plan, sink, device, node_id)
        identity = merge_identity(plan)
    model = host.load_model(sink.state_dict, sink.metadata)
    _RESULTS.add_model(identity, report, model)
    return report, model


def merge_unshared(wire: RecipeWire, dtype: str, device: str) -> tuple[MergeReport, Any]:
    """As `merge_to_model`, of a MODEL that nobody else finds: its memory is about to be reused."""
    sink = StateDictSink()
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype) as plan:
        report = _result(plan, sink, device, None)
    return report, host.load_model(sink.state_dict, sink.metadata)


def merge_to_file(
    wire: RecipeWire, dtype: str, device: str, node_id: str | None, target: Path
) -> MergeReport:
    """Plan and merge into a new file; a preview of the same recipe that still lives is stored.

    Raises: PlanError with everything that is wrong, before a tensor is read.
    """
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, target=target) as plan:
        report = _result(plan, FileSink(target), device, node_id)
        _RESULTS.add_file(merge_identity(plan), report, target)
    return report


def planned(wire: RecipeWire, dtype: str, target: Path | None = None) -> dict[str, Any]:
    """What the browser shows of a dry run: the plan, and the same in words.

    Raises: PlanError with everything that is wrong.
    """
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, target=target) as plan:
        text = "\n".join(["Dry run: nothing was merged.", *plan_summary(plan)])
        return {"kind": "plan", "plan": plan.to_json(), "text": text}


def _result(plan: Plan, sink: Sink, device: str, node_id: str | None) -> MergeReport:
    """The merge in `sink`: taken from where it already is, else made."""
    progress, full = host.HostProgress(node_id), host.metadata_allowed()
    report = None
    with _RESULTS.find(merge_identity(plan)) as there:
        if there is not None:
            first, read = there
            report = store_again(plan, sink, first, read, progress=progress, provenance=full)
    if report is None:
        chosen = host.torch_device(device)
        host.free_memory(plan.estimate.ram_bytes, chosen)
        report = run_merge(
            plan,
            sink,
            progress=progress,
            device=chosen,
            cache=DecompositionCache(host.cache_dir("decompositions")),
            grams=GramCache(host.cache_dir("grams")),
            memo=HashMemo(host.cache_dir("hashes")),
            provenance=full,
        )
    progress.finish()
    return report
