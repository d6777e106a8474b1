/**
 * A row's weight on each tensor: `double_blocks.0-9=0.5, *attn*=0, default=1`. Pure.
 * The same grammar as `orthomerge_core/recipe/layers.py`; both run on `tests/fixtures/layers.json`.
 */

import { expanded, lastOutputBlock, sdBlocks, sdHolds } from "./sd_blocks.mjs";

export const MAX_LAYER_RULES = 256;
const NUMBER = /^[+-]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$/i;
const RANGE = /^(\d+)-(\d+)$/;

/** The text is not `pattern=weight` pairs; `code` is the key of its sentence, `part` the place in it. */
export class LayersError extends Error {
  constructor(code, part = "") {
    super(`layers: ${code} ${part}`);
    this.code = code;
    this.part = part;
  }
}

/**
 * Read comma, semicolon or newline separated pairs; empty text is weight 1 everywhere. Pasted numbers and
 * names of curves are read as well.
 * @param {string} text
 * @param {Iterable<string>} [blocks] the model's block ids, where they are known
 * @returns {{rules: {pattern: string, weight: number, matches: (key: string, block: string) => boolean}[], fallback: number,
 *   weight: (key: string, block: string) => number}} the first matching rule wins
 */
export function parseLayers(text, blocks = []) {
  const rules = [];
  let fallback = 1;
  const last = lastOutputBlock(blocks);
  for (const piece of expanded(text, last)
    .split(/[,\n;]/)
    .map((part) => part.trim())
    .filter(Boolean)) {
    const rule = parseRule(piece);
    if (rule.pattern === "default") fallback = rule.weight;
    else rules.push({ ...rule, matches: matcher(rule.pattern, last) });
  }
  if (rules.length > MAX_LAYER_RULES) throw new LayersError("layersMany", String(MAX_LAYER_RULES));
  const weight = (key, block) => rules.find((rule) => rule.matches(key, block))?.weight ?? fallback;
  return { rules, fallback, weight };
}

/** What is wrong in a text; null where all is well. @returns {{code: string, part: string} | null} */
export function layersTrouble(text) {
  try {
    parseLayers(text);
    return null;
  } catch (error) {
    if (!(error instanceof LayersError)) throw error;
    return { code: error.code, part: error.part };
  }
}

function parseRule(piece) {
  const at = piece.lastIndexOf("=");
  const pattern = piece.slice(0, Math.max(at, 0)).trim();
  if (!pattern) throw new LayersError("layersPair", piece.slice(0, 80));
  const number = piece.slice(at + 1).trim();
  const weight = NUMBER.test(number) ? Number(number.replaceAll("_", "")) : NaN;
  if (!Number.isFinite(weight)) throw new LayersError("layersWeight", piece.slice(0, 80));
  for (const part of pattern.split(".")) {
    const [, low, high] = RANGE.exec(part) ?? [];
    if (Number(low) > Number(high)) throw new LayersError("layersRange", part);
  }
  const named = sdBlocks(pattern);
  if (named && named.low > named.high) throw new LayersError("layersRange", pattern);
  return { pattern, weight };
}

function matcher(pattern, last) {
  const named = sdBlocks(pattern);
  if (named) return (_key, block) => sdHolds(named, block, last);
  if (/[*?[]/.test(pattern)) {
    const tokens = globTokens(pattern);
    return (key, block) => globMatches(tokens, key) || globMatches(tokens, block);
  }
  const parts = pattern.split(".").map((part) => ({ part, range: RANGE.exec(part) }));
  return (key, block) => startsWith(block.split("."), parts) || startsWith(key.split("."), parts);
}

function startsWith(names, parts) {
  return (
    names.length >= parts.length &&
    parts.every(({ part, range }, i) =>
      range && /^\d+$/.test(names[i])
        ? Number(range[1]) <= Number(names[i]) && Number(names[i]) <= Number(range[2])
        : part === names[i],
    )
  );
}

/** A glob as a list of "*" and predicates on one character; `[seq]` and `[!seq]` as in the shell. */
function globTokens(pattern) {
  const chars = [...pattern];
  const tokens = [];
  for (let i = 0; i < chars.length; i += 1) {
    const end = chars[i] === "[" ? closing(chars, i) : -1;
    if (chars[i] === "*") tokens.push("*");
    else if (chars[i] === "?") tokens.push(() => true);
    else if (end > 0) {
      tokens.push(charSet(chars.slice(i + 1, end)));
      i = end;
    } else tokens.push(literal(chars[i]));
  }
  return tokens;
}

const literal = (wanted) => (char) => char === wanted;

function closing(chars, open) {
  let from = open + 1;
  if (chars[from] === "!") from += 1;
  if (chars[from] === "]") from += 1;
  return chars.indexOf("]", from);
}

function charSet(inside) {
  const negated = inside[0] === "!";
  const chars = negated ? inside.slice(1) : inside;
  const ranges = [];
  for (let i = 0; i < chars.length; i += 1) {
    const isRange = chars[i + 1] === "-" && i + 2 < chars.length;
    ranges.push([chars[i], chars[isRange ? i + 2 : i]].map((c) => c.codePointAt(0)));
    if (isRange) i += 2;
  }
  return (char) => {
    const code = char.codePointAt(0);
    return ranges.some(([low, high]) => low <= code && code <= high) !== negated;
  };
}

/** Linear in the text for each star: only the last star is ever tried again. */
function globMatches(tokens, text) {
  const chars = [...text];
  let [token, at, star, resume] = [0, 0, -1, 0];
  while (at < chars.length) {
    if (tokens[token] === "*") {
      star = token;
      resume = at;
      token += 1;
    } else if (token < tokens.length && tokens[token](chars[at])) {
      token += 1;
      at += 1;
    } else if (star >= 0) {
      resume += 1;
      at = resume;
      token = star + 1;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest === "*");
}
