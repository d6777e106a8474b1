/**
 * What a grid picture holds of its cells, and a cell's recipe as a table. Pure.
 *
 * @typedef {{place: number[], labels: string[], caption?: string, recipe: any}} Cell
 * @typedef {{axes: {name: string, labels: string[]}[], cells: Cell[]}} Grid
 * @typedef {{rows: import("./rules.mjs").Row[], method: string, options: Record<string, Record<string, unknown>>,
 *   texture: {model: string, alpha: number}, vae: string, prediction: string, strength: number}} Taken
 */
import { isValid } from "./model.mjs";
import { COLUMNS, plainRow } from "./rules.mjs";
import { storedText } from "./text_alphas.mjs";

/** The name of a grid's JSON in the header of its picture. */
export const GRID_TEXT = "orthomerge.grid";
const VERSION = 1;

/** "alpha 0.5, method slerp" */
export const cellLabel = (axes, { labels }) =>
  labels
    .map((label, i) => (label.includes(axes[i]?.name) ? label : `${axes[i]?.name ?? ""} ${label}`.trim()))
    .join(", ");

/**
 * @param {string} text
 * @returns {Grid | null} null for what is no grid that this version reads
 */
export function readGrid(text) {
  try {
    const found = JSON.parse(text);
    const isGrid =
      found?.version === VERSION &&
      Array.isArray(found.axes) &&
      Array.isArray(found.cells) &&
      found.cells.every((cell) => Array.isArray(cell?.labels) && Array.isArray(cell?.recipe?.rows));
    return isGrid ? found : null;
  } catch {
    return null;
  }
}

/**
 * A recipe's choices as the mixer keeps them; cells that a table cannot hold are left out.
 * @returns {Taken}
 */
export function takenFrom(recipe) {
  const rows = recipe.rows.filter((item) => typeof item?.model === "string" && item.model).map(rowFrom);
  const method = String(recipe.method ?? "orthomerge");
  const options = recipe.options && Object.keys(recipe.options).length ? { [method]: recipe.options } : {};
  const boost = recipe.texture_boost ?? {};
  const vae = typeof recipe.vae === "string" ? recipe.vae : (recipe.vae?.from ?? "base");
  return {
    rows,
    method,
    options,
    texture: { model: String(boost.model ?? ""), alpha: Number(boost.alpha ?? 0) },
    vae: String(vae),
    prediction: String(recipe.prediction ?? ""),
    strength: Number(recipe.strength ?? 1),
  };
}

function rowFrom(item) {
  const row = plainRow(item.model);
  for (const column of COLUMNS) {
    const value = column === "text" ? storedText(item.text) : item[column];
    if (value !== undefined && isValid(column, value)) row[column] = value;
  }
  return row;
}
