/**
 * What a table means beside a proposal, and what is wrong in its rows. Pure.
 * The same rules as `orthomerge_core/recipe/table.py`; both run on `tests/fixtures/table_cases.json`.
 *
 * @typedef {{enabled: boolean, model: string, delta_from: string, alpha: number, repeat: number,
 *   layers: string, text?: number | string, info?: string}} Row
 *   text: alpha of the text encoders; absent = as alpha, "0.3/0.6" = encoder L and the others / encoder G
 * @typedef {{row: Row, touched: string[]}} TableRow
 * @typedef {{rows: TableRow[], ordered: boolean, removed: string[],
 *   options: Record<string, Record<string, unknown>>, extra: object}} Table
 */

import { textAlphas } from "./text_alphas.mjs";

export const BASE = "base";
export const COLUMNS = ["enabled", "model", "delta_from", "alpha", "text", "repeat", "layers"];
export const plainRow = (model) => ({
  enabled: true,
  model,
  delta_from: BASE,
  alpha: 1,
  repeat: 1,
  layers: "",
});

/** Index of the proposal row each table row belongs to: the k-th of a model to the k-th; else null. */
export function matchRows(models, proposal) {
  const waiting = new Map();
  proposal.forEach((row, index) => {
    if (!waiting.has(row.model)) waiting.set(row.model, []);
    waiting.get(row.model).push(index);
  });
  return models.map((model) => waiting.get(model)?.shift() ?? null);
}

/**
 * Rows in effect, each with the table row and the proposal row it comes from.
 * @returns {{row: Row, touched: string[], proposed: Row | null}[]}
 */
export function effectiveEntries(table, proposal, names) {
  if (!proposal?.length) {
    if (table.rows.length) return table.rows.map((entry) => ({ ...entry, proposed: null }));
    return names
      .filter((name) => !table.removed.includes(name))
      .map((name) => ({ row: plainRow(name), touched: [], proposed: null }));
  }
  const matched = matchRows(
    table.rows.map((entry) => entry.row.model),
    proposal,
  );
  const entries = table.rows.map((entry, i) => settled(entry, matched[i] === null ? null : proposal[matched[i]]));
  const fresh = proposal
    .map((row, index) => ({ row, index }))
    .filter(({ row, index }) => !matched.includes(index) && !table.removed.includes(row.model));
  const asEntry = ({ row }) => ({ row, touched: [], proposed: row });
  if (table.ordered) return [...entries, ...fresh.map(asEntry)];
  return inProposalOrder(entries, matched, fresh, asEntry);
}

/** @returns {Row[]} */
export function effectiveRows(table, proposal, names) {
  return effectiveEntries(table, proposal, names).map((entry) => entry.row);
}

function settled(entry, proposed) {
  if (!proposed) return { ...entry, proposed: null };
  if (!entry.touched.length) return { row: proposed, touched: [], proposed };
  return { row: { ...entry.row, info: proposed.info }, touched: entry.touched, proposed };
}

function inProposalOrder(entries, matched, fresh, asEntry) {
  const placed = new Map(fresh.map((item) => [item.index, [asEntry(item)]]));
  const lastOf = new Map();
  entries.forEach((entry, i) => {
    if (matched[i] === null) return;
    placed.set(matched[i], [entry]);
    lastOf.set(entry.row.model, matched[i]);
  });
  const appended = [];
  entries.forEach((entry, i) => {
    if (matched[i] !== null) return;
    const home = lastOf.get(entry.row.model);
    (home === undefined ? appended : placed.get(home)).push(entry);
  });
  const order = [...placed.keys()].sort((a, b) => a - b);
  return [...order.flatMap((index) => placed.get(index)), ...appended];
}

/**
 * Problems as codes with their values; words are the view's business.
 * @returns {{row: number, code: string, severity: "error" | "warning", model?: string, parent?: string}[]}
 */
export function findProblems(rows, names) {
  const known = new Set([BASE, ...names]);
  const parents = new Map();
  for (const row of rows.filter((r) => r.enabled)) {
    parents.set(row.model, [...(parents.get(row.model) ?? []), row.delta_from]);
  }
  const merged = new Set(rows.filter(isActive).map((row) => row.model));
  const problems = rows.flatMap((row, index) =>
    rowProblems(row, known, parents, merged).map(([code, severity]) => ({
      row: index,
      code,
      severity,
      model: row.model,
      parent: row.delta_from,
    })),
  );
  if (rows.length && !rows.some(isActive)) {
    problems.push({ row: -1, code: "all_off", severity: "error" });
  }
  return problems;
}

export const isActive = (row) =>
  row.enabled && (row.alpha !== 0 || (row.text !== undefined && textAlphas(row).some((alpha) => alpha !== 0)));

function rowProblems(row, known, parents, merged) {
  if (!row.enabled) return [];
  const found = [];
  if (!known.has(row.model) || row.model === BASE) found.push(["unknown_model", "error"]);
  if (!known.has(row.delta_from)) found.push(["missing_parent", "error"]);
  else if (row.model !== BASE && leadsBack(row.model, row.delta_from, parents)) {
    found.push(["cycle", "error"]);
  } else if (row.delta_from !== BASE && !merged.has(row.delta_from) && isActive(row)) {
    found.push(["parent_off", "warning"]);
  }
  return found;
}

function leadsBack(model, parent, parents) {
  const seen = new Set();
  const queue = [parent];
  while (queue.length) {
    const name = queue.pop();
    if (name === model) return true;
    if (name !== BASE && !seen.has(name)) {
      seen.add(name);
      queue.push(...(parents.get(name) ?? []));
    }
  }
  return false;
}
