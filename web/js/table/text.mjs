/** Rows as text for the clipboard: JSON, and tab-separated for spreadsheets. Pure. */
import { BASE, COLUMNS, plainRow } from "./rules.mjs";
import { readNumber } from "../parts/numbers.mjs";
import { isValid } from "./model.mjs";

const YES = new Set(["1", "true", "on", "yes", "x", "✓", "ja", "wahr", "是"]);
const NO = new Set(["0", "false", "off", "no", "", "nein", "falsch", "否"]);

/** @param {import("./rules.mjs").Row[]} rows */
export function toTsv(rows) {
  const clean = (value) => String(value ?? "").replace(/[\t\r\n]+/g, " ");
  const lines = [COLUMNS, ...rows.map((row) => COLUMNS.map((c) => clean(row[c])))].map((cells) => cells.join("\t"));
  return `${lines.join("\n")}\n`;
}

export function toJson(rows, method, options) {
  const plain = rows.map((row) => Object.fromEntries(Object.entries(row).filter(([k]) => k !== "info")));
  return JSON.stringify({ rows: plain, method, options: { [method]: options ?? {} } }, null, 2);
}

/**
 * Rows from pasted text. Accepts our JSON, a bare list, a recipe, TSV with or without a header, and
 * plain lines `model<tab>alpha`. Cells that cannot be read are reported, never guessed.
 * @returns {{rows: object[], options?: object, problems: {line: number, column: string, value: string, reason?: string}[]}}
 */
export function fromText(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("{") || trimmed.startsWith("[")) return fromJson(trimmed);
  return fromTsv(text);
}

function fromJson(text) {
  let obj;
  try {
    obj = JSON.parse(text);
  } catch {
    return { rows: [], problems: [{ line: 0, column: "JSON", value: text.slice(0, 40) }] };
  }
  const list = Array.isArray(obj) ? obj : obj.rows;
  if (!Array.isArray(list)) {
    return { rows: [], problems: [{ line: 0, column: "rows", value: typeof list }] };
  }
  const problems = [];
  const rows = list.flatMap((item, i) => cleanRow(item, i + 1, problems));
  return { rows, options: readOptions(obj), problems };
}

/** Our own form nests options by method; a recipe's are flat and belong to its `method`. */
function readOptions({ options, method }) {
  if (!options || typeof options !== "object") return undefined;
  const nested = Object.values(options).every((v) => v && typeof v === "object");
  if (nested) return options;
  return method ? { [method]: options } : undefined;
}

function cleanRow(item, line, problems) {
  if (!item || typeof item !== "object" || typeof item.model !== "string" || !item.model) {
    problems.push({ line, column: "model", value: String(item?.model ?? "") });
    return [];
  }
  const row = plainRow(item.model);
  for (const column of COLUMNS) {
    if (!(column in item)) continue;
    if (isValid(column, item[column])) row[column] = item[column];
    else problems.push({ line, column, value: String(item[column]), reason: reasonFor(column, item[column]) });
  }
  return [row];
}

/** Why a value may not stand in a column: the key of its sentence. */
function reasonFor(column, value) {
  return column === "alpha" && Number.isFinite(value) ? "pasteRange" : "pasteBad";
}

function fromTsv(text) {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.split("\t"))
    .filter((c) => c.some((v) => v.trim()));
  if (!lines.length) return { rows: [], problems: [] };
  const head = lines[0].map((cell) => cell.trim().toLowerCase().replace(/\s+/g, "_"));
  const hasHead = head.includes("model");
  const columns = hasHead ? head : guessColumns(lines[0]);
  const problems = [];
  const rows = lines.slice(hasHead ? 1 : 0).flatMap((cells, i) => {
    const item = {};
    columns.forEach((column, k) => {
      const value = cells[k]?.trim() ?? "";
      if (COLUMNS.includes(column) && (value !== "" || column === "layers")) {
        item[column] = readCell(column, value);
      }
    });
    return cleanRow(item, i + (hasHead ? 2 : 1), problems);
  });
  return { rows, problems };
}

function guessColumns(cells) {
  if (cells.length >= COLUMNS.length) return COLUMNS;
  if (cells.length === COLUMNS.length - 1) return COLUMNS.filter((column) => column !== "text");
  const isNumber = (cell) => cell !== undefined && Number.isFinite(readNumber(cell));
  return isNumber(cells[1]) ? ["model", "alpha"] : ["model", "delta_from", "alpha", "repeat", "layers"];
}

function readCell(column, value) {
  if (column === "alpha" || column === "repeat") return readNumber(value);
  if (column === "text") return value.includes("/") ? value.replaceAll(",", ".") : readNumber(value);
  if (column === "delta_from") return value || BASE;
  if (column !== "enabled") return value;
  const word = value.toLowerCase();
  if (YES.has(word)) return true;
  return NO.has(word) ? false : value;
}
