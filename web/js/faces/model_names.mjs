/** OrthoModelSet's value: one model name a line. Pure. */

export const readNames = (value) => [
  ...new Set(
    String(value ?? "")
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter(Boolean),
  ),
];

export const writeNames = (names) => names.join("\n");

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
