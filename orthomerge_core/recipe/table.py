"""The table a person edits: what differs from the optimizer's proposal, as one JSON string.

    {"version": 1,
     "rows": [{"model": "detail", "alpha": 0.5, …, "touched": ["alpha"]}, {"model": "flash"}],
     "ordered": false, "removed": ["turbo"], "options": {"orthomerge": {"damping": 0.001}}}

The empty string follows the optimizer. `web/js/table/model.mjs` holds the same rules; both are
tested against `tests/fixtures/table_cases.json`. Reading the string is `table_parse`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .model import Row
from .table_parse import MAX_ROWS, TABLE_VERSION, Table, TableRow, parse_table

__all__ = [
    "MAX_ROWS",
    "TABLE_VERSION",
    "Table",
    "TableRow",
    "effective_rows",
    "method_options",
    "parse_table",
]


def effective_rows(table: Table, proposal: Sequence[Row], names: Sequence[str]) -> tuple[Row, ...]:
    """What the table means beside `proposal`.

    The k-th row of a model belongs to the k-th proposal row of that model. A touched row keeps all
    its fields, an untouched one takes the proposal's. Proposal rows that belong to no table row and
    are not `removed` come in at the proposal's position, or last when the table is `ordered`. Rows
    without a counterpart stand as they are: right after the earlier row of their model, else last.
    Without a proposal the rows stand as they are; an empty table then has a plain row per name.
    """
    if not proposal:
        if table.rows:
            return tuple(entry.row for entry in table.rows)
        return tuple(Row(model=name) for name in names if name not in table.removed)
    waiting: dict[str, deque[int]] = defaultdict(deque)
    for index, row in enumerate(proposal):
        waiting[row.model].append(index)
    matched: list[int | None] = []
    rows: list[Row] = []
    for entry in table.rows:
        queue = waiting[entry.row.model]
        matched.append(queue.popleft() if queue else None)
        rows.append(_settled(entry, None if matched[-1] is None else proposal[matched[-1]]))
    taken = {index for index in matched if index is not None}
    fresh = [
        index
        for index, row in enumerate(proposal)
        if index not in taken and row.model not in table.removed
    ]
    if table.ordered:
        return (*rows, *(proposal[index] for index in fresh))
    return _in_proposal_order(rows, matched, proposal, fresh)


def method_options(table: Table, method: str) -> dict[str, Any]:
    """The options stated for `method`; those of other methods are kept in the table, unused."""
    return dict(table.options.get(method, {}))


def _settled(entry: TableRow, proposed: Row | None) -> Row:
    if proposed is None:
        return entry.row
    if not entry.touched:
        return proposed
    return replace(entry.row, info=proposed.info)


def _in_proposal_order(
    rows: Sequence[Row], matched: Sequence[int | None], proposal: Sequence[Row], fresh: list[int]
) -> tuple[Row, ...]:
    placed: dict[int, list[Row]] = {index: [proposal[index]] for index in fresh}
    placed |= {at: [row] for row, at in zip(rows, matched, strict=True) if at is not None}
    last_of = {row.model: at for row, at in zip(rows, matched, strict=True) if at is not None}
    appended: list[Row] = []
    for row, at in zip(rows, matched, strict=True):
        if at is None:
            home = last_of.get(row.model)
            (appended if home is None else placed[home]).append(row)
    ordered = [row for index in sorted(placed) for row in placed[index]]
    return (*ordered, *appended)
