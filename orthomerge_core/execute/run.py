"""Executes a plan: the one function behind previews, files and the shell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from ..concurrency.background import run_abandonable
from ..concurrency.device import usable_device
from ..io.dtypes import dtype_of
from ..io.file_hash import file_sha256
from ..io.hash_memo import HashMemo
from ..io.hashing import content_hash
from ..keys.content import model_content_hash, recall_hashes
from ..messages import texts
from ..methods.contract import LinearMethod
from ..progress import OnlyChecks, Progress
from ..recipe.model import BASE
from .caches import Caches
from .fallback import Fate, Work
from .linear.merge import LinearMerge
from .output.details import FileDetails
from .output.notes import merge_notes, unused_tensors
from .output.provenance import header_metadata, late_metadata, vae_name
from .output.report import Merged, MergeReport, peak_rss_mib
from .output.retention import Retention
from .output.sinks import Sink, StateDictSink, sink_for
from .output.tensor_writer import Emitter, read_stored
from .plan.model import Plan
from .whole_tensor import WholeMerge

__all__ = ["run_merge"]


def run_merge(
    plan: Plan,
    caches: Caches | None = None,
    *,
    progress: Progress | None = None,
    device: str | torch.device = "cpu",
    provenance: bool = True,
    extra_metadata: Mapping[str, str] | None = None,
    details: FileDetails | None = None,
    sha256: bool = False,
) -> Merged:
    """Merge into the plan's target, or into memory where it has none.

    Same plan and same files give the same bytes, whatever the caches hold.

    Args:
        caches: what earlier merges kept; None for none.
        device: where methods other than the linear ones compute; no room there falls back to CPU.
        provenance: write the recipe into the metadata.
        extra_metadata: more strings for the header, e.g. a workflow.
        details: title, author, license and the like for the header.
        sha256: also hash the files whole, sources and result, which reads each once more.

    Raises:
        OrthoMergeError: there is no such device.
        FileChangedError, FileError: a source changed or cannot be read any more.
        WriteError: the result cannot be stored.
        Cancelled: or whatever `progress` raises to stop. Nothing is left behind on any error.
    """
    begun = time.perf_counter()
    where = usable_device(device)
    progress, caches = progress or Progress(), caches or Caches()
    recall_hashes(plan.sources(), caches.memo)
    # its first call loads sd-mecha, which takes seconds: a stop does not wait for it
    own = run_abandonable(lambda: header_metadata(plan, full=provenance, details=details), progress)
    metadata = dict(extra_metadata or {}) | own
    sink = sink_for(plan)
    with torch.inference_mode():
        sink.begin(plan.layout(), metadata)
        try:
            emitter = Emitter(sink, plan.aligned.base, plan.vae)
            work = Work(plan, emitter, _retention(plan), progress)
            reused = _merge_all(work, where, caches)
            hashes = _source_hashes(plan, caches.memo, progress)
            for model in plan.sources():
                model.source.check_unchanged()
            digest = content_hash(work.emitter.hashes)
            files = _file_hashes(plan, caches.memo, progress) if sha256 else {}
            sink.finish(late_metadata(plan, metadata, digest, hashes, files))
        except BaseException:
            sink.abort()
            raise
    taken_s = time.perf_counter() - begun
    if not reused and not sha256:
        caches.pace.learn(plan.recipe.method, where.type, plan.stated.seconds, taken_s)
    if sha256 and plan.target is not None:
        files[plan.target.name] = file_sha256(plan.target, caches.memo, OnlyChecks(progress))
    report = replace(_report(work, digest, hashes, time.perf_counter() - begun), sha256=files)
    return _merged(report, sink)


def _merged(report: MergeReport, sink: Sink) -> Merged:
    if isinstance(sink, StateDictSink):
        return Merged(report, sink.state_dict, sink.metadata)
    return Merged(report)


def _retention(plan: Plan) -> Retention:
    return Retention([row.label for row in plan.rows])


def _merge_all(work: Work, device: torch.device, caches: Caches) -> bool:
    """Merge and emit every tensor; whether some of the work came from a cache."""
    plan, progress = work.plan, work.progress
    base = plan.aligned.base
    n_passthrough = [base.entry(key).n_bytes for key in plan.passthrough.values()]
    if isinstance(plan.method, LinearMethod):
        merge: LinearMerge | WholeMerge = LinearMerge(work, plan.method, grams=caches.grams)
    else:
        merge = WholeMerge(work, device, caches.decompositions)
    total = float(sum(n_passthrough)) + merge.total()
    progress.start(total, f"Merging {len(plan.tensors)} tensors ({plan.method.label})")
    for (name, key), n_bytes in zip(plan.passthrough.items(), n_passthrough, strict=True):
        stored = read_stored(base, key)
        work.emitter.raw(name, stored, base.entry(key).dtype, plan.aligned.shapes[key])
        progress.advance(n_bytes)
    for name, added in plan.markers.added.items():
        work.emitter.raw(name, added, dtype_of(added.dtype), tuple(added.shape))
    merge.run()
    return merge.reused


def _source_hashes(plan: Plan, memo: HashMemo | None, progress: Progress) -> dict[str, str]:
    """Content hashes of everything that was read; what was not needed is read only if unknown."""
    listener = OnlyChecks(progress)
    found = {BASE: model_content_hash(plan.aligned.base, memo, listener)}
    for model in plan.models:
        found[model.name] = model_content_hash(model, memo, listener)
    if plan.recipe.vae_file is not None and plan.vae is not None:
        found[vae_name(plan.recipe)] = model_content_hash(plan.vae, memo, listener)
    return found


def _file_hashes(plan: Plan, memo: HashMemo | None, progress: Progress) -> dict[str, str]:
    """SHA-256 of every source that is one file."""
    single = {n: p for n, p in plan.paths.items() if not p.name.endswith(".json")}
    return {name: file_sha256(path, memo, OnlyChecks(progress)) for name, path in single.items()}


def _report(work: Work, digest: str, hashes: Mapping[str, str], seconds: float) -> MergeReport:
    plan, kept, messages = work.plan, work.retention, merge_notes(work, hashes)
    keys = {
        "merged": work.counts[Fate.MERGED],
        "from_base": work.counts[Fate.FROM_BASE] + len(plan.passthrough),
        "repaired": work.counts[Fate.REPAIRED],
        "extra": sum(model.report.extra for model in plan.models),
    }
    return MergeReport(
        content_hash=digest,
        method=plan.recipe.method,
        output_dtype=plan.recipe.output_dtype,
        retention=kept.named(kept.shares()),
        retention_by_block=kept.by_block(),
        retention_by_component=kept.by_component(),
        layout=plan.layout_name,
        prediction=plan.markers.words,
        leave_one_out=kept.named(kept.leave_one_out()),
        delta_norm=kept.delta_norm(),
        rounding_frac=kept.rounding_frac(),
        keys=keys,
        repaired_keys=tuple(work.repaired),
        seconds=round(seconds, 3),
        peak_rss_mib=peak_rss_mib(),
        source_hashes=dict(hashes),
        tensor_hashes={key: found[2] for key, found in work.emitter.hashes.items()},
        file=plan.target.name if plan.target else None,
        notes=(*plan.notes, *texts(messages)),
        messages=(*plan.messages, *(message.to_json() for message in messages)),
        retention_written=kept.named(kept.shares(written=True)),
        retention_written_by_block=kept.by_block(written=True),
        unused=unused_tensors(work),
    )
