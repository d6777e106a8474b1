"""Stores a finished merge again, without merging again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...io.dtypes import torch_dtype
from ...io.hashing import tensor_hash
from ...progress import Progress
from ...recipe import codec
from ...recipe.model import BASE
from ..plan.model import Plan
from .details import FileDetails
from .provenance import header_metadata, late_metadata
from .relabel import relabelled
from .report import Merged, MergeReport, peak_rss_mib
from .sinks import Sink, StateDictSink, sink_for
from .tensor_writer import read_stored

__all__ = ["Read", "merge_identity", "store_again"]

Read = Callable[[str], Tensor | None]
"""key → a tensor of the finished merge, in any dtype that holds it exactly; None if not there."""


def merge_identity(plan: Plan) -> str:
    """What decides the tensors: the recipe, and which files it reads. Equal means the same merge.

    Names do not count: neither a recipe's names for its models nor those of files, since the
    fingerprints say which files are meant. Nor do content hashes, which a recipe has only after it
    was merged. Costs no tensor read.
    """
    recipe = plan.recipe
    files = {model.name: model.source.fingerprint() for model in plan.sources()}
    models = {
        name: replace(ref, file=files.get(name, ref.file), content_hash=None)
        for name, ref in recipe.models.items()
    }
    plain = replace(recipe, base=files[BASE], models=models, base_hash=None)
    return "\n".join([codec.canonical(plain), plan.layout_name, *files.values()])


def store_again(
    plan: Plan,
    first: MergeReport,
    read: Read,
    *,
    progress: Progress | None = None,
    provenance: bool = True,
    details: FileDetails | None = None,
) -> Merged | None:
    """Store the merge that `first` reports, tensor by tensor from `read`, each proven by its hash.

    Args:
        plan: of the same identity as the one behind `first`; its target may be another, and so
            may the names that its recipe gives to the models.
        read: what is left of the first merge. One tensor is held at a time.

    Returns:
        The first report with the plan's names, file and time; None, and nothing is written, where
        a tensor is gone or is no longer what was merged.

    Raises:
        FileChangedError: a source changed since it was opened.
        WriteError: the result cannot be stored.
    """
    begun, progress = time.perf_counter(), progress or Progress()
    named = relabelled(first, plan)
    metadata, sink = header_metadata(plan, full=provenance, details=details), sink_for(plan)
    with torch.inference_mode():
        sink.begin(plan.layout(), metadata)
        try:
            if not _copied(plan, sink, first, read, progress):
                sink.abort()
                return None
            for model in plan.sources():
                model.source.check_unchanged()
            sink.finish(late_metadata(plan, metadata, named.content_hash, named.source_hashes))
        except BaseException:
            sink.abort()
            raise
    report = replace(
        named,
        seconds=round(time.perf_counter() - begun, 3),
        peak_rss_mib=peak_rss_mib(),
        file=plan.target.name if plan.target else None,
    )
    if isinstance(sink, StateDictSink):
        return Merged(report, sink.state_dict, sink.metadata)
    return Merged(report)


def _copied(plan: Plan, sink: Sink, first: MergeReport, read: Read, progress: Progress) -> bool:
    layout, passthrough, added = plan.layout(), plan.passthrough, plan.markers.added
    progress.start(float(len(layout)), f"Storing {len(layout)} merged tensors")
    for key, (dtype, shape) in layout.items():
        if key in passthrough:
            tensor: Tensor | None = read_stored(plan.aligned.base, passthrough[key])
        else:
            tensor = added[key] if key in added else read(key)
        expected = first.tensor_hashes.get(key)
        if tensor is None or expected is None or tensor.numel() != _numel(shape):
            return False
        stored = tensor.detach().to(device="cpu", dtype=torch_dtype(dtype)).contiguous()
        if tensor_hash(stored) != expected:
            return False
        sink.write_flat(key, stored.reshape(-1), 0)
        progress.advance(1.0)
    return True


def _numel(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
