/** The merge in symbols, as the rows say it. Pure. */
import { BASE, isActive } from "./rules.mjs";
import { splitFolder } from "../parts/names.mjs";
import { shortNumber } from "../parts/numbers.mjs";

const SUMS = new Set(["task_arithmetic", "average"]);
const number = (value) => shortNumber(value, 6);

/** "2 × 0.5 · (detail − base)", sign apart. */
function term(row) {
  const factors = [];
  if (row.repeat > 1) factors.push(`${row.repeat} ×`);
  if (Math.abs(row.alpha) !== 1) factors.push(`${number(Math.abs(row.alpha))} ·`);
  const layers = row.layers.trim() ? " ∘ layers" : "";
  return [...factors, `(${leaf(row.model)} − ${leaf(row.delta_from)})${layers}`].join(" ");
}

const leaf = (name) => (name === BASE ? BASE : splitFolder(name)[1]);
const sign = (row) => (row.alpha < 0 ? "−" : "+");

/** One line: base, terms, method. */
export function formula(rows, { method, textureModel = "", textureAlpha = 0 }) {
  const active = rows.filter(isActive);
  const texture = textureModel && textureAlpha ? ` + ${number(textureAlpha)} · Δ${leaf(textureModel)}` : "";
  if (!active.length) return `W = ${BASE}${texture}`;
  const terms = active
    .map((row, i) => {
      const lead = i === 0 && row.alpha > 0 ? "" : `${sign(row)} `;
      return lead + term(row);
    })
    .join(" ");
  if (method === "task_arithmetic") return `W = ${BASE} ${active[0].alpha > 0 ? "+ " : ""}${terms}${texture}`;
  const count = active.reduce((sum, row) => sum + row.repeat, 0);
  if (SUMS.has(method)) return `W = ${BASE} + [${terms}] ∕ ${count}${texture}`;
  const list = active.map((row) => (row.alpha < 0 ? "−" : "") + term(row)).join(", ");
  return `W = ${BASE} + ${method}(${list})${texture}`;
}
