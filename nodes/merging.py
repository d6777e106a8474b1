"""The one way in which nodes merge: into memory or into a file, the same plan and the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..orthomerge_core.execute.caches import Caches
from ..orthomerge_core.execute.output.report import Merged, MergeReport
from ..orthomerge_core.execute.output.resave import merge_identity, store_again
from ..orthomerge_core.execute.plan.model import Plan
from ..orthomerge_core.execute.plan.planner import plan_merge
from ..orthomerge_core.execute.run import run_merge
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
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, layout="diffusion") as plan:
        merged = _result(plan, device, node_id)
        identity = merge_identity(plan)
    model = host.load_model(merged.state_dict, merged.metadata)
    _RESULTS.add_model(identity, merged.report, model)
    return merged.report, model


def merge_unshared(wire: RecipeWire, dtype: str, device: str) -> tuple[MergeReport, Any]:
    """As `merge_to_model`, of a MODEL that nobody else finds: its memory is about to be reused."""
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, layout="diffusion") as plan:
        merged = _result(plan, device, None)
    return merged.report, host.load_model(merged.state_dict, merged.metadata)


def merge_to_file(
    wire: RecipeWire, dtype: str, device: str, node_id: str | None, target: Path
) -> MergeReport:
    """Plan and merge into a new file; a preview of the same recipe that still lives is stored.

    Raises: PlanError with everything that is wrong, before a tensor is read.
    """
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, target=target) as plan:
        report = _result(plan, device, node_id).report
        _RESULTS.add_file(merge_identity(plan), report, target)
    return report


def planned(wire: RecipeWire, dtype: str, target: Path | None = None) -> dict[str, Any]:
    """What the browser shows of a dry run: the plan, and the same in words.

    Raises: PlanError with everything that is wrong.
    """
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, target=target) as plan:
        text = "\n".join(["Dry run: nothing was merged.", *plan_summary(plan)])
        return {"kind": "plan", "plan": plan.to_json(), "text": text}


def _result(plan: Plan, device: str, node_id: str | None) -> Merged:
    """The merge of a plan: taken from where it already is, else made."""
    progress, full = host.HostProgress(node_id), host.metadata_allowed()
    merged = None
    with _RESULTS.find(merge_identity(plan)) as there:
        if there is not None:
            first, read = there
            merged = store_again(plan, first, read, progress=progress, provenance=full)
    if merged is None:
        chosen = host.torch_device(device)
        host.free_memory(plan.estimate.ram_bytes, chosen)
        caches = Caches(host.cache_dir())
        merged = run_merge(plan, caches, progress=progress, device=chosen, provenance=full)
    progress.finish()
    return merged
