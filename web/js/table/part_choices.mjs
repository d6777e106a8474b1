/**
 * Choices that only checkpoints ask for: the VAE of the result, and what it predicts. Pure.
 * `parts` is what Python says of a set (`nodes/parts.py`); null where it is not known.
 *
 * @typedef {import("./types").Parts} Parts
 * @typedef {import("./types").Row} Row
 */
import { BASE, isActive } from "./rules.mjs";

export const MERGE = "merge";
export const PREDICTIONS = ["epsilon", "v", "v+ztsnr"];

/** @param {Parts | null} parts */
export const hasVae = (parts) => parts?.components.includes("vae") ?? false;

/** @param {Parts | null} parts */
export const hasTextEncoders = (parts) => parts?.components.some((name) => name.startsWith("text_encoder.")) ?? false;

/**
 * Models of the merge that predict otherwise than the base.
 * @param {Parts | null} parts
 * @param {Row[]} rows
 * @returns {{name: string, words: string}[]} the base first; empty where all agree
 */
export function disagreeing(parts, rows) {
  const known = parts?.predictions ?? {};
  const used = new Set(rows.filter(isActive).flatMap((row) => [row.model, row.delta_from]));
  const odd = [...used].filter((name) => name in known && known[name] !== known[BASE]);
  return odd.length ? [BASE, ...odd].map((name) => ({ name, words: known[name] })) : [];
}

/**
 * What the list of VAEs offers.
 * @param {Parts | null} parts
 * @param {string} current
 * @returns {{name: string, from: "base" | "merge" | "model" | "file"}[]}
 */
export function vaeChoices(parts, current) {
  /** @type {{name: string, from: "base" | "merge" | "model" | "file"}[]} */
  const found = [
    { name: BASE, from: "base" },
    { name: MERGE, from: "merge" },
    ...(parts?.vae ?? []).map((name) => ({ name, from: /** @type {const} */ ("model") })),
    ...(parts?.vae_files ?? []).map((name) => ({ name, from: /** @type {const} */ ("file") })),
  ];
  return found.some((item) => item.name === current) ? found : [...found, { name: current, from: "file" }];
}

/**
 * What the list of predictions offers; "" is no choice.
 * @param {Parts | null} parts
 * @param {string} current
 * @returns {{name: string, words: string}[]}
 */
export function predictionChoices(parts, current) {
  const known = parts?.predictions ?? {};
  const models = Object.keys(known).filter((name) => name !== BASE && known[name] !== known[BASE]);
  const names = ["", BASE, ...PREDICTIONS, ...models];
  if (!names.includes(current)) names.push(current);
  return names.map((name) => ({ name, words: known[name] ?? "" }));
}
