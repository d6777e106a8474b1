"""Report of a finished merge."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

__all__ = ["MergeReport", "Merged", "peak_rss_mib"]


@dataclass(frozen=True)
class MergeReport:
    """Figures of a finished merge.

    `content_hash` covers every stored tensor; a file and a state dict of the same merge share it.
    `retention`: row label → ⟨W − B, δ⟩/‖δ‖², None for a row without a delta; the same per block.
    These, `leave_one_out`, `delta_norm` and `rounding_frac` are the diffusion model's;
    `retention_by_component`: component → row label → share. `layout`: checkpoint or diffusion.
    `prediction`: what the result predicts.
    `retention_written`: the same of the weights as they are stored, after the output cast.
    `leave_one_out`: share of the result that only this row explains. `rounding_frac`:
    ‖stored − W‖/‖W − B‖. `keys` counts tensors: merged, from_base, repaired, extra (in a model but
    not in the base). `source_hashes`: "base" and each model's name → content hash. `tensor_hashes`:
    key → hash of the stored bytes; it serves later runs, so the JSON leaves it out. `notes` are
    sentences, `messages` those of them that have a code, with their values. `unused`: model or row
    → reason → all tensors in which it took no part. `sha256`: where it was asked for, "base", each
    model's name and the result's file → SHA-256 of the whole file, of which AutoV2 is the start.
    """

    content_hash: str
    method: str
    output_dtype: str
    retention: Mapping[str, float | None]
    retention_by_block: Mapping[str, Mapping[str, float | None]]
    leave_one_out: Mapping[str, float | None]
    delta_norm: float
    rounding_frac: float
    keys: Mapping[str, int]
    repaired_keys: tuple[str, ...]
    seconds: float
    peak_rss_mib: float | None
    source_hashes: Mapping[str, str] = field(default_factory=dict)
    tensor_hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    file: str | None = None
    notes: tuple[str, ...] = ()
    retention_by_component: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    layout: str = "diffusion"
    prediction: str = "epsilon"
    messages: tuple[Mapping[str, Any], ...] = ()
    retention_written: Mapping[str, float | None] = field(default_factory=dict)
    retention_written_by_block: Mapping[str, Mapping[str, float | None]] = field(
        default_factory=dict
    )
    unused: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        shown = {k: v for k, v in vars(self).items() if k != "tensor_hashes"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in shown.items()}


@dataclass(frozen=True)
class Merged:
    """A finished merge: its report and, for one in memory, its tensors and the header's strings."""

    report: MergeReport
    state_dict: dict[str, Tensor] = field(default_factory=dict, repr=False)
    metadata: dict[str, str] = field(default_factory=dict, repr=False)


def peak_rss_mib() -> float | None:
    """The process's largest resident memory so far; None where the system does not tell.

    Linux's own count is taken where it is there: what `getrusage` says there begins with the memory
    of whoever started the process.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        status = ""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / (1 << 10), 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
