/** OrthoModelSet's value: one model name a line. Pure. */
import { splitFolder } from "../parts/names.mjs";

/** @returns {string[]} */
export const readNames = (value) => [
  ...new Set(
    String(value ?? "")
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter(Boolean),
  ),
];

export const writeNames = (names) => names.join("\n");

const SUFFIXES = /(?:-\d+-of-\d+)?\.(?:safetensors|sft|gguf)$/i;

/**
 * The names that a set gives its files, the shortest that are free: stem, file name, folder and stem.
 * The same rule as `spec_from_paths` in the core.
 * @param {string[]} files
 */
export function modelNames(files) {
  const leaves = files.map((file) => splitFolder(file)[1]);
  const stems = leaves.map((leaf) => leaf.replace(SUFFIXES, ""));
  const folders = files.map((file) => splitFolder(file)[0].split(/[/\\]/).at(-1));
  const levels = [stems, leaves, stems.map((stem, i) => `${folders[i]}/${stem}`)];
  const isOnly = (level, name) => level.filter((other) => other === name).length === 1;
  /** @type {string[]} */
  const names = [];
  files.forEach((_, i) => {
    const level = levels.find((row) => isOnly(row, row[i]) && row[i] !== "base" && !names.includes(row[i]));
    let name = level?.[i] ?? "";
    for (let number = 2; !name || names.includes(name); number += 1) name = `${stems[i]} (${number})`;
    names.push(name);
  });
  return names;
}

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** Size and date of a file in a few characters: `4.0 MB · 2026-11-30`; empty where neither is known. */
export function fileNote(file) {
  if (!Number.isFinite(file?.bytes)) return "";
  const day = new Date((file.modified ?? 0) * 1000);
  if (Number.isNaN(day.getTime())) return size(file.bytes);
  const local = new Date(day.getTime() - day.getTimezoneOffset() * 60000);
  return `${size(file.bytes)} · ${local.toISOString().slice(0, 10)}`;
}

/** Bytes in powers of 1000, as file managers and download pages count. */
function size(bytes) {
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}
