"""Merging for all nodes: into memory or into a file, by the same plan and run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..orthomerge_core.execute.caches import Caches
from ..orthomerge_core.execute.output.report import Merged, MergeReport
from ..orthomerge_core.execute.output.resave import merge_identity, store_again
from ..orthomerge_core.execute.plan.gguf_file import ggml_encoder
from ..orthomerge_core.execute.plan.model import Plan
from ..orthomerge_core.execute.plan.planner import plan_merge
from ..orthomerge_core.execute.run import run_merge
from ..orthomerge_core.report.merge_text import plan_summary
from . import host
from .components import Loaded, load_parts, why_absent
from .results import Results
from .wire import RecipeWire

__all__ = [
    "Made",
    "ending",
    "layout_for",
    "merge_to_file",
    "merge_to_model",
    "merge_unshared",
    "planned",
    "writes_checkpoint",
]

_RESULTS = Results()  # weak references and names of what the nodes made, shared by their classes


@dataclass(frozen=True)
class Made(Loaded):
    """A merge in memory."""

    report: MergeReport = field(kw_only=True)


def ending(dtype: str) -> str:
    """What the name of a file of that output dtype ends with."""
    return ".safetensors" if ggml_encoder(dtype) is None else ".gguf"


def merge_to_model(
    wire: RecipeWire,
    dtype: str,
    device: str,
    node_id: str | None,
    parts: Collection[str] = (),
) -> Made:
    """Plan, merge into memory, and hand the tensors over as a MODEL, with the `parts` asked for.

    parts: of "clip" and "vae". Where the base has one of them, all its components are merged.

    Raises: PlanError with everything that is wrong, before a tensor is read.
    """
    host.require_format(dtype)
    layout = layout_for(parts)
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, layout=layout) as plan:
        held, takes_all = plan.aligned.components, plan.recipe.merges_parts
        reasons = {part: why_absent(part, held, takes_all=takes_all) for part in parts}
        merged = _result(plan, device, node_id)
        identity, whole = merge_identity(plan), plan.is_checkpoint
    loaded = load_parts(merged.state_dict, merged.metadata, reasons, whole=whole)
    if not whole:
        _RESULTS.add_model(identity, merged.report, loaded.model)
    return Made(**vars(loaded), report=merged.report)


def layout_for(parts: Collection[str]) -> str:
    """What a merge in memory holds: all components, or the diffusion model alone."""
    return "auto" if parts else "diffusion"


def merge_unshared(wire: RecipeWire, dtype: str, device: str) -> tuple[MergeReport, Any]:
    """As `merge_to_model`, without sharing the MODEL, whose memory is about to be reused."""
    host.require_format(dtype)
    with plan_merge(wire.recipe, wire.spec, output_dtype=dtype, layout="diffusion") as plan:
        merged = _result(plan, device, None)
    return merged.report, host.load_model(merged.state_dict, merged.metadata)


def merge_to_file(
    wire: RecipeWire,
    dtype: str,
    device: str,
    node_id: str | None,
    target: Path,
    layout: str = "auto",
) -> MergeReport:
    """Plan and merge into a new file; a preview of the same recipe that still lives is stored.

    Raises: PlanError with everything that is wrong, before a tensor is read.
    """
    with plan_merge(
        wire.recipe, wire.spec, output_dtype=dtype, target=target, layout=layout
    ) as plan:
        report = _result(plan, device, node_id).report
        _RESULTS.add_file(merge_identity(plan), report, target)
    return report


def writes_checkpoint(wire: RecipeWire, layout: str) -> bool:
    """Whether a file of this recipe and layout is a checkpoint; headers are read.

    Raises: PlanError where the recipe cannot be merged at all.
    """
    plain = replace(wire.recipe, output_dtype="base")
    with plan_merge(plain, wire.spec, layout=layout) as plan:
        return plan.is_checkpoint


def planned(
    wire: RecipeWire, dtype: str, target: Path | None = None, layout: str = "auto"
) -> dict[str, Any]:
    """What the browser shows of a dry run: the plan, and the same in words.

    Raises: PlanError with everything that is wrong.
    """
    if target is None:
        host.require_format(dtype)
    pace = Caches(host.cache_dir()).pace
    with plan_merge(
        wire.recipe, wire.spec, output_dtype=dtype, target=target, layout=layout, pace=pace
    ) as plan:
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
