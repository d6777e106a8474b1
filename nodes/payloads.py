"""The data that nodes send to the browser beside their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..orthomerge_core.analysis.derive import derive
from ..orthomerge_core.analysis.result import Analysis
from ..orthomerge_core.forecast.forecast import reduce_for_table
from ..orthomerge_core.recipe.codec import row_to_json
from .wire import MixWire

__all__ = ["analysis_payload", "mix_payload"]


def mix_payload(mix: MixWire | None, names: Sequence[str]) -> dict[str, Any]:
    """Rows, warnings and the reduced figures of a proposal; without one only the names."""
    payload: dict[str, Any] = {"kind": "mix", "names": list(names)}
    if mix is None:
        return payload | {"proposal": [], "warnings": [], "forecast": None}
    return payload | {
        "proposal": [row_to_json(row) for row in mix.proposal.rows],
        "warnings": [warning.to_json() for warning in mix.proposal.warnings],
        "forecast": reduce_for_table(mix.analysis),
    }


def analysis_payload(analysis: Analysis, text: str) -> dict[str, Any]:
    """The report, and the figures of models and pairs that the node shows, rounded."""
    found = derive(analysis)
    figures = {
        "names": list(analysis.names),
        "grade": list(found.grade),
        "change": [round(x, 5) for x in found.relative_norm.tolist()],
        "cosine": [[round(x, 3) for x in row] for row in found.cosine.tolist()],
        "conflict": [[round(x, 3) for x in row] for row in found.conflict_ratio.tolist()],
    }
    said = {"summary": text, "text": text}
    return {"kind": "analysis", "names": figures["names"], **said, "figures": figures}
