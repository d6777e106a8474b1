/**
 * The merge in symbols, as the rows say it. Pure.
 * The same line as `orthomerge_core/recipe/formula.py`; both run on `tests/fixtures/formula_cases.json`.
 */
import { BASE, isActive } from "./rules.mjs";
import { splitFolder } from "../parts/names.mjs";
import { shortNumber } from "../parts/numbers.mjs";

const number = (value) => shortNumber(value, 6).replace("-", "−");
const leaf = (name) => splitFolder(name)[1];

/** `2 × 0.5 · (detail − base) ∘ layers`, without its sign. */
function term(row) {
  const factors = [];
  if (row.repeat > 1) factors.push(`${row.repeat} ×`);
  if (Math.abs(row.alpha) !== 1) factors.push(`${number(Math.abs(row.alpha))} ·`);
  const layers = row.layers.trim() ? " ∘ layers" : "";
  return [...factors, `(${leaf(row.model)} − ${leaf(row.delta_from)})${layers}`].join(" ");
}

function changeOf(rows, method) {
  if (!rows.length) return "";
  if (method !== "task_arithmetic" && method !== "average") {
    return `${method}(${rows.map((row) => (row.alpha < 0 ? "−" : "") + term(row)).join(", ")})`;
  }
  const sign = (row, i) => (row.alpha < 0 ? "− " : i ? "+ " : "");
  const terms = rows.map((row, i) => sign(row, i) + term(row)).join(" ");
  return method === "average" ? `[${terms}] ∕ ${rows.reduce((sum, row) => sum + row.repeat, 0)}` : terms;
}

/** One line: base, rows, texture. */
export function formula(rows, { method, textureModel = "", textureAlpha = 0, strength = 1 }) {
  const change = changeOf(rows.filter(isActive), method);
  const texture = textureModel && textureAlpha ? `${number(textureAlpha)} · Δ${leaf(textureModel)}` : "";
  if (strength !== 1 && (change || texture)) {
    return `W = ${BASE} + ${number(strength)} · [${[change, texture].filter(Boolean).join(" + ")}]`;
  }
  const lead = change.startsWith("− ") ? "" : "+ ";
  return `W = ${BASE}${change && ` ${lead}${change}`}${texture && ` + ${texture}`}`;
}
