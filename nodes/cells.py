"""Merges of a grid: MODELs that share one memory, and a report per cell."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any

from ..orthomerge_core.execute.output.report import MergeReport
from . import host
from .merging import layout_for, merge_unshared, planned
from .wire import RecipeWire

__all__ = ["cell_report", "merge_cell"]

_MAX_REPORTS = 1024
_SLOTS: weakref.WeakValueDictionary[str, host.LazySlot] = weakref.WeakValueDictionary()
_REPORTS: OrderedDict[tuple[str, int], MergeReport] = OrderedDict()


def merge_cell(wire: RecipeWire, dtype: str, device: str) -> tuple[dict[str, Any], Any]:
    """The plan of a cell, and a MODEL that is merged when ComfyUI loads it.

    The cells of a group that are stored in one dtype share one MODEL's memory.

    Raises: PlanError with everything that is wrong, before any cell is merged.
    """
    plan = planned(wire, dtype, layout=layout_for(()))
    place = f"{wire.group}:{dtype}"
    slot = _SLOTS.get(place) or host.LazySlot()
    _SLOTS[place] = slot

    def make() -> Any:
        report, model = merge_unshared(wire, dtype, device)
        _REPORTS[str(wire.group), wire.cell] = report
        while len(_REPORTS) > _MAX_REPORTS:
            _REPORTS.popitem(last=False)
        return model

    return plan, host.lazy_model(slot, f"{place}:{wire.cell}", make)


def cell_report(group: str, cell: int) -> MergeReport | None:
    """What the merge of a cell kept; None before it was made, or long after."""
    return _REPORTS.get((group, cell))
