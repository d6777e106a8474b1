"""The table a person edits: what differs from the optimizer's proposal, as one JSON string.

    {"version": 1,
     "rows": [{"model": "detail", "alpha": 0.5, …, "touched": ["alpha"]}, {"model": "flash"}],
     "ordered": false, "removed": ["turbo"], "options": {"orthomerge": {"damping": 0.001}}}

The empty string follows the optimizer. `web/js/table/model.mjs` holds the same rules; both are
tested against `tests/fixtures/table_cases.json`. Reading the string is `table_parse`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .model import BASE, Row
from .table_parse import MAX_ROWS, TABLE_VERSION, Table, TableRow, parse_table

__all__ = [
    "MAX_ROWS",
    "TABLE_VERSION",
    "Table",
    "TableProblem",
    "TableRow",
    "effective_rows",
    "find_problems",
    "method_options",
    "parse_table",
]


@dataclass(frozen=True)
class TableProblem:
    """Something the table should say in place. `row` counts from 0; −1 is the table as a whole."""

    row: int
    code: str
    severity: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the browser."""
        return dict(vars(self))


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


def find_problems(rows: Sequence[Row], names: Sequence[str]) -> tuple[TableProblem, ...]:
    """What is wrong (`error`) or easily missed (`warning`) in rows that stand beside a set."""
    problems: list[TableProblem] = []
    known = {BASE, *names}
    enabled = [row for row in rows if row.enabled]
    parents: dict[str, list[str]] = defaultdict(list)
    for row in enabled:
        parents[row.model].append(row.delta_from)
    merged = {row.model for row in rows if row.active}
    for index, row in enumerate(rows):
        for code, severity, text in _row_problems(row, known, parents, merged):
            problems.append(TableProblem(index, code, severity, text))
    if rows and not any(row.active for row in rows):
        problems.append(
            TableProblem(-1, "all_off", "error", "Every row is off: the result would be the base.")
        )
    return tuple(problems)


def _row_problems(
    row: Row, known: set[str], parents: Mapping[str, list[str]], merged: set[str]
) -> Iterable[tuple[str, str, str]]:
    if not row.enabled:
        return
    if row.model not in known or row.model == BASE:
        yield "unknown_model", "error", f'"{row.model}" is not in the set.'
    if row.delta_from not in known:
        yield "missing_parent", "error", f'The parent "{row.delta_from}" is not in the set.'
    elif row.model != BASE and _leads_back(row.model, row.delta_from, parents):
        yield (
            "cycle",
            "error",
            f'"{row.model}" is taken from itself, by way of "{row.delta_from}".',
        )
    elif row.delta_from != BASE and row.delta_from not in merged and row.active:
        yield (
            "parent_off",
            "warning",
            f'"{row.delta_from}" is not merged, so its own change is missing here.',
        )


def _leads_back(model: str, parent: str, parents: Mapping[str, list[str]]) -> bool:
    seen: set[str] = set()
    queue = [parent]
    while queue:
        name = queue.pop()
        if name == model:
            return True
        if name != BASE and name not in seen:
            seen.add(name)
            queue.extend(parents.get(name, ()))
    return False


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
