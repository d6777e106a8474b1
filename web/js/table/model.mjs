/**
 * The table as a value: reading, editing and writing its JSON string. Pure, no DOM.
 * Every edit takes a `State` and returns a new one; `write` gives the string that the node keeps.
 *
 * @typedef {import("./rules.mjs").Row} Row
 * @typedef {import("./rules.mjs").Table} Table
 * @typedef {{row: Row, touched: string[], proposed: Row | null}} Entry
 * @typedef {{table: Table, proposal: Row[] | null, names: string[], entries: Entry[]}} State
 *   `proposal` null: an optimizer is wired, but nothing has come from it yet.
 */
import { ascii } from "../parts/ascii.mjs";
import { isText, storedText } from "./text_alphas.mjs";
import { COLUMNS, effectiveEntries, matchRows, plainRow } from "./rules.mjs";

export const TABLE_VERSION = 1;
export const MAX_ROWS = 256;
const FIELDS = ["version", "rows", "ordered", "removed", "options"];
const MARKS = ["touched", "info"];

export const emptyTable = () => ({ rows: [], ordered: false, removed: [], options: {}, extra: {} });

/** An error in the stored string; `row` counts from 1, 0 = the table. */
export class TableError extends Error {
  constructor(code, { row = 0, column = "" } = {}) {
    super(`${code}${row ? ` in row ${row}` : ""}${column ? `, column ${column}` : ""}`);
    this.code = code;
    this.row = row;
    this.column = column;
  }
}

/** The table in a stored value; null and "" are the empty one. Throws `TableError`. */
export function readTable(value) {
  if (value === null || value === undefined || String(value).trim() === "") return emptyTable();
  let obj;
  try {
    obj = JSON.parse(value);
  } catch {
    throw new TableError("not_json");
  }
  if (!isObject(obj)) throw new TableError("not_an_object");
  const version = obj.version ?? TABLE_VERSION;
  if (!Number.isInteger(version) || version < 1) throw new TableError("bad_version");
  if (version > TABLE_VERSION) throw new TableError("newer_version");
  const rows = obj.rows ?? [];
  if (!Array.isArray(rows)) throw new TableError("bad_field", { column: "rows" });
  if (rows.length > MAX_ROWS) throw new TableError("too_many_rows");
  const ordered = obj.ordered ?? false;
  if (typeof ordered !== "boolean") throw new TableError("bad_field", { column: "ordered" });
  const removed = obj.removed ?? [];
  if (!Array.isArray(removed) || !removed.every((name) => typeof name === "string")) {
    throw new TableError("bad_field", { column: "removed" });
  }
  const options = obj.options ?? {};
  if (!isObject(options) || !Object.values(options).every(isObject)) {
    throw new TableError("bad_field", { column: "options" });
  }
  const extra = Object.fromEntries(Object.entries(obj).filter(([k]) => !FIELDS.includes(k)));
  return { rows: rows.map((item, i) => readRow(item, i + 1)), ordered, removed, options, extra };
}

function readRow(item, number) {
  if (!isObject(item)) throw new TableError("bad_row", { row: number });
  if (!("model" in item)) throw new TableError("no_model", { row: number });
  const given = COLUMNS.filter((column) => column in item);
  const text = storedText(item.text);
  for (const column of given) {
    if (!isValid(column, column === "text" ? text : item[column]))
      throw new TableError("bad_cell", { row: number, column });
  }
  const touched = item.touched ?? given.filter((column) => column !== "model");
  if (!Array.isArray(touched) || !touched.every((t) => typeof t === "string")) {
    throw new TableError("bad_cell", { row: number, column: "touched" });
  }
  const kept = Object.entries({ ...item, text }).filter(
    ([k, v]) => !MARKS.includes(k) && (k !== "text" || v !== undefined),
  );
  return { row: { ...plainRow(item.model), ...Object.fromEntries(kept) }, touched: [...touched] };
}

/** Whether a value may stand in a column. */
export function isValid(column, value) {
  if (column === "enabled") return typeof value === "boolean";
  if (column === "layers") return typeof value === "string";
  if (column === "text") return isText(value);
  if (column === "alpha") return Number.isFinite(value) && value >= -5 && value <= 5;
  if (column === "repeat") return [1, 2, 3].includes(value);
  return typeof value === "string" && value !== "";
}

/** @returns {State} */
export function makeState(table, proposal, names) {
  return { table, proposal, names, entries: effectiveEntries(table, proposal, names) };
}

/** The node's string for a state; "" where nothing differs from the proposal. */
export function write(state) {
  const { table } = state;
  const body = { rows: table.rows.map(writeRow) };
  if (table.ordered) body.ordered = true;
  if (table.removed.length) body.removed = table.removed;
  const options = Object.entries(table.options).filter(([, values]) => Object.keys(values).length);
  if (options.length) body.options = Object.fromEntries(options);
  Object.assign(body, table.extra);
  const isEmpty = Object.keys(body).length === 1 && !body.rows.length;
  return isEmpty ? "" : ascii(JSON.stringify({ version: TABLE_VERSION, ...body }));
}

/** The string that says all of a state by itself, for a run without the proposal it rests on. */
export function writeInFull(state) {
  const rows = state.entries.map(({ row }) => ({ row, touched: [...COLUMNS] }));
  return write({ ...state, table: { ...state.table, rows, ordered: true } });
}

function writeRow({ row, touched }) {
  if (!touched.length) return { model: row.model };
  const { info: _, ...kept } = row;
  return { ...kept, touched: COLUMNS.filter((column) => touched.includes(column)) };
}

// ------------------------------------------------------------------ edits

/** One cell. A cell set back to what is proposed counts as untouched again. */
export function setCell(state, index, column, value) {
  if (!isValid(column, value)) return state;
  return withEntries(
    state,
    state.entries.map((entry, i) => (i === index ? touchedEntry(entry, column, value) : entry)),
  );
}

function touchedEntry(entry, column, value) {
  const row = { ...entry.row, [column]: value };
  const { proposed } = entry;
  const marks = COLUMNS.filter((c) => c === column || entry.touched.includes(c));
  if (!proposed) return { row, touched: marks, proposed };
  const differing = COLUMNS.filter((c) => row[c] !== proposed[c]);
  const touched = differing.length ? marks.filter((c) => differing.includes(c)) : [];
  return { row, touched: touched.length || !differing.length ? touched : marks, proposed };
}

/** "all" | "none" | "some": the state of the header's checkbox. */
export function toggleState(state) {
  const on = state.entries.filter((entry) => entry.row.enabled).length;
  if (on === 0) return "none";
  return on === state.entries.length ? "all" : "some";
}

export function toggleAll(state) {
  const enabled = toggleState(state) !== "all";
  return withEntries(
    state,
    state.entries.map((entry) => (entry.row.enabled === enabled ? entry : touchedEntry(entry, "enabled", enabled))),
  );
}

/** Every model in play: its first row on and at a strength that counts, or a new row of its own. */
export function enableModels(state, models) {
  return models.reduce((next, model) => {
    const index = next.entries.findIndex((entry) => entry.row.model === model);
    if (index < 0) return addRow(next, model);
    const on = setCell(next, index, "enabled", true);
    return next.entries[index].row.alpha === 0 ? setCell(on, index, "alpha", 1) : on;
  }, state);
}

export function addRow(state, model, fields = {}) {
  const row = { ...plainRow(model), ...fields };
  return withEntries(state, [...state.entries, { row, touched: ["model"], proposed: null }]);
}

export function removeRow(state, index) {
  return withEntries(
    state,
    state.entries.filter((_, i) => i !== index),
  );
}

export function duplicateRow(state, index) {
  const { row } = state.entries[index];
  const { info: _, ...kept } = row;
  const copy = { row: kept, touched: ["model"], proposed: null };
  return withEntries(state, [...state.entries.slice(0, index + 1), copy, ...state.entries.slice(index + 1)]);
}

export function moveRow(state, from, to) {
  const last = state.entries.length - 1;
  const target = Math.min(last, Math.max(0, to));
  if (from === target) return state;
  const entries = state.entries.filter((_, i) => i !== from);
  entries.splice(target, 0, state.entries[from]);
  return withEntries(state, entries);
}

export function resetCell(state, index, column) {
  const { proposed } = state.entries[index];
  return setCell(state, index, column, (proposed ?? plainRow(state.entries[index].row.model))[column]);
}

export function resetRow(state, index) {
  return withEntries(
    state,
    state.entries.map((entry, i) => {
      if (i !== index) return entry;
      if (entry.proposed) return { row: entry.proposed, touched: [], proposed: entry.proposed };
      return { row: plainRow(entry.row.model), touched: ["model"], proposed: null };
    }),
  );
}

/** Back to the proposal: rows, order and removals; options stay. */
export function resetTable(state) {
  const table = { ...state.table, rows: [], ordered: false, removed: [] };
  return makeState(table, state.proposal, state.names);
}

/** Rows from a paste or preset take the table's place. */
export function replaceRows(state, rows, options = undefined) {
  const entries = rows
    .slice(0, MAX_ROWS)
    .map((row) => ({ row: { ...plainRow(row.model), ...row }, touched: [...COLUMNS], proposed: null }));
  const next = withEntries(state, entries);
  if (!options) return next;
  return makeState({ ...next.table, options }, state.proposal, state.names);
}

// ------------------------------------------------------------------ back to a table

function withEntries(state, entries) {
  const table = tableOf(state, entries);
  return makeState(table, state.proposal, state.names);
}

function tableOf(state, entries) {
  const { table, proposal, names } = state;
  if (!proposal?.length) return tableWithoutProposal(state, entries);
  const matched = matchRows(
    entries.map((e) => e.row.model),
    proposal,
  );
  const rows = entries.map((entry, i) => anchored(entry, matched[i] === null ? null : proposal[matched[i]]));
  const present = new Set(entries.map((e) => e.row.model));
  const missing = proposal.filter((_, i) => !matched.includes(i)).map((row) => row.model);
  const foreign = table.removed.filter((name) => !present.has(name) && !proposal.some((row) => row.model === name));
  const removed = [...new Set([...missing, ...foreign])];
  const lean = { ...table, rows: leanRows(rows), ordered: false, removed };
  if (sameRows(effectiveEntries(lean, proposal, names), rows)) return lean;
  return { ...table, rows, ordered: true, removed };
}

/** Without a counterpart in the proposal a row must carry all its fields. */
function anchored(entry, proposed) {
  const isSame = proposed && COLUMNS.every((c) => entry.row[c] === proposed[c]);
  if (isSame) return { row: entry.row, touched: [] };
  if (entry.touched.length) return { row: entry.row, touched: entry.touched };
  return { row: entry.row, touched: ["model"] };
}

/** Touched rows, and the untouched ones before them that are needed to count their model's rows. */
function leanRows(rows) {
  return rows.filter(
    (entry, i) =>
      entry.touched.length ||
      rows.some((later, j) => j > i && later.touched.length && later.row.model === entry.row.model),
  );
}

function tableWithoutProposal({ table, proposal, names, entries: before }, entries) {
  const rows = entries.map(({ row, touched }) => ({ row, touched }));
  const present = new Set(entries.map((e) => e.row.model));
  const gone = before.map((e) => e.row.model).filter((model) => !present.has(model));
  const moved = !isSubsequence(entries, before);
  if (proposal === null) {
    const removed = [...new Set([...table.removed.filter((n) => !present.has(n)), ...gone])];
    return { ...table, rows, ordered: table.ordered || moved, removed };
  }
  return { ...table, rows, ordered: false, removed: rows.length ? [] : [...names] };
}

function isSubsequence(entries, before) {
  const order = entries.map((e) => before.findIndex((b) => b.row === e.row)).filter((i) => i >= 0);
  return order.every((value, i) => i === 0 || value > order[i - 1]);
}

function sameRows(left, right) {
  return (
    left.length === right.length && left.every((entry, i) => COLUMNS.every((c) => entry.row[c] === right[i].row[c]))
  );
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
