/** What is wrong with a row's layer weights, seen against the names of the tensors. Pure. */
import { lastOutputBlock, sdBlocks } from "./sd_blocks.mjs";
import { layersTrouble, parseLayers } from "./layers.mjs";

const ALIKE = 0.55;
/** @type {WeakMap<object, Map<string, object | null>>} */
const known = new WeakMap();
const MOST_TEXTS = 512;

/**
 * @param {string} text
 * @param {{keys: string[], blocks: string[], block_of: number[]} | null | undefined} names
 *   the tensors' names as the analysis sent them; without them only the grammar is checked
 * @returns {{code: string, tone: "error" | "warning", part: string, suggestion?: string, earlier?: string} | null}
 */
export function layersAdvice(text, names) {
  const trouble = layersTrouble(text);
  if (trouble) return { ...trouble, tone: "error" };
  if (!text.trim() || !names?.keys?.length) return null;
  const cache = known.get(names) ?? new Map();
  known.set(names, cache);
  if (cache.size > MOST_TEXTS) cache.clear();
  if (!cache.has(text)) cache.set(text, against(text, names));
  return cache.get(text) ?? null;
}

function against(text, names) {
  const { rules } = parseLayers(text, names.blocks);
  const free = new Set(names.keys.keys());
  /** @type {{pattern: string, taken: number[]}[]} */
  const earlier = [];
  for (const { pattern, matches } of rules) {
    const matched = names.keys.flatMap((key, k) => (matches(key, names.blocks[names.block_of[k]]) ? [k] : []));
    if (!matched.length && sdBlocks(pattern)?.kind === "BASE") continue; // numbers of whole checkpoints hold it
    if (!matched.length) {
      const suggestion = sdBlocks(pattern) ? unetRange(names.blocks) : closest(pattern, names);
      return { code: suggestion ? "layersNoMatchTry" : "layersNoMatch", tone: "error", part: pattern, suggestion };
    }
    if (!matched.some((k) => free.has(k))) {
      const winner = earlier.find((rule) => rule.taken.some((k) => matched.includes(k)));
      return { code: "layersShadowed", tone: "warning", part: pattern, earlier: winner?.pattern ?? "" };
    }
    earlier.push({ pattern, taken: matched.filter((k) => free.delete(k)) });
  }
  return null;
}

/** "IN00-11, M00, OUT00-11" where the model is such a U-Net. */
function unetRange(blocks) {
  const last = lastOutputBlock(blocks);
  if (last === null) return "";
  const end = String(last).padStart(2, "0");
  return `IN00-${end}, M00, OUT00-${end}`;
}

/** The block, block family, keyword or part of a name that is most like a pattern; "" where none is. */
function closest(pattern, { keys, blocks }) {
  const parts = new Set(keys.flatMap((key) => key.split(".")).filter((part) => /[a-z]/i.test(part)));
  const families = blocks.map((block) => block.split(".")[0]);
  const candidates = new Set(["default", ...blocks, ...families, ...parts]);
  const wanted = pattern.replace(/[*?[\]]/g, "");
  let [best, found] = [ALIKE, ""];
  for (const candidate of candidates) {
    const alike = 1 - distance(wanted, candidate) / Math.max(wanted.length, candidate.length, 1);
    if (alike > best) [best, found] = [alike, candidate];
  }
  return found;
}

/** Levenshtein's distance. */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
