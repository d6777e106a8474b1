/**
 * A row's alpha of the text encoders: absent = as alpha, a number, or two as "0.3/0.6", of which the second
 * is encoder G's and the first every other encoder's. Pure.
 */

/** The two alphas of the text encoders, [all but G, G]; both `alpha` where none are given. */
export function textAlphas({ alpha, text }) {
  if (text === undefined || text === null || text === "") return [alpha, alpha];
  const parts = String(text).split("/").map(Number);
  return [parts[0], parts.at(-1)];
}

const inRange = (value) => Number.isFinite(value) && value >= -5 && value <= 5;

/** Alpha of the text encoders: absent, a number, or two as "0.3/0.6". */
export function isText(value) {
  if (value === undefined || inRange(value)) return true;
  if (typeof value !== "string") return false;
  const parts = value.split("/");
  return parts.length === 2 && parts.every((part) => part.trim() !== "" && inRange(Number(part)));
}

/** As recipes and tables store it: null, a number, a list of two, or text. */
export function storedText(value) {
  if (value === null || value === "") return undefined;
  if (Array.isArray(value)) return value.join("/");
  return typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}
