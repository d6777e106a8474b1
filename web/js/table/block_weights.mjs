/**
 * Layer weights seen per block and per kind of tensor, and rules written back as text. Pure.
 *
 * @typedef {{id: string, name: string, tensors: number, energy: number, weight: number | null, mean: number}} BlockView
 *   weight null: the block's tensors have different ones; mean is their mean.
 */
import { LayersError, parseLayers } from "./layers.mjs";
import { CURVES, blockName, blockNames, expanded, lastOutputBlock } from "./sd_blocks.mjs";

/** Kinds of tensors by their names, as a glob each. Which of them a model has is seen from its tensors. */
export const GROUPS = [
  { name: "attention", pattern: "*attn*" },
  { name: "mlp", pattern: "*mlp*" },
  { name: "feedForward", pattern: "*.ff.*" },
  { name: "feed_forward", pattern: "*feed_forward*" },
  { name: "norm", pattern: "*norm*" },
  { name: "modulation", pattern: "*modulation*" },
  { name: "mod", pattern: "*_mod.*" },
];

/**
 * @param {string} text
 * @param {{names: string[], blocks: string[], blockOf: number[]}} data
 * @param {ArrayLike<number> | null} energies of the row's change, per tensor
 */
export function describe(text, data, energies) {
  const layers = readOr(text, data.blocks);
  const last = lastOutputBlock(data.blocks);
  const { names, blocks, blockOf } = data;
  /** @type {(BlockView & {weights: Set<number>, sum: number})[]} */
  const found = blocks.map((id) => ({
    id,
    name: shortBlock(id, last),
    tensors: 0,
    energy: 0,
    weight: null,
    mean: 1,
    weights: new Set(),
    sum: 0,
  }));
  const groups = Object.fromEntries(
    GROUPS.map(({ name }) => [name, { tensors: 0, weight: /** @type {number | null} */ (null), weights: new Set() }]),
  );
  const matchers = GROUPS.map(({ name, pattern }) => ({ name, rule: parseLayers(`${pattern}=0`).rules[0] }));
  const totals = { tensors: names.length, touched: 0, energy: 0, kept: 0 };
  names.forEach((key, k) => {
    const block = found[blockOf[k]];
    const weight = layers.weight(key, block.id);
    const energy = energies?.[k] ?? 0;
    block.tensors += 1;
    block.energy += energy;
    block.weights.add(weight);
    block.sum += weight;
    totals.energy += energy;
    totals.kept += energy * Math.min(1, weight * weight);
    if (weight !== 0) totals.touched += 1;
    for (const { name, rule } of matchers) {
      if (!rule.matches(key, "")) continue;
      groups[name].tensors += 1;
      groups[name].weights.add(weight);
    }
  });
  for (const block of found) {
    block.weight = block.weights.size === 1 ? [...block.weights][0] : null;
    block.mean = block.tensors ? Math.round((block.sum / block.tensors) * 1e4) / 1e4 : 1;
  }
  for (const group of Object.values(groups)) group.weight = group.weights.size === 1 ? [...group.weights][0] : null;
  return { blocks: inOrder(found, last), groups, ...totals };
}

function readOr(text, blocks) {
  try {
    return parseLayers(text, blocks);
  } catch (error) {
    if (!(error instanceof LayersError)) throw error;
    return parseLayers("");
  }
}

/** Where a block merge of Stable Diffusion has a name of its own for a block, that one. */
function shortBlock(id, last) {
  const name = blockName(id, last);
  if (!name || last === null) return id;
  const [kind, number] = name;
  const whole = kind === "BASE" ? id : kind === "M" ? "M00" : `${kind}${String(number).padStart(2, "0")}`;
  return /^(input_blocks|output_blocks)\.\d+$|^middle_block(\.|$)/.test(id) ? whole : `${whole} ${id}`;
}

/** Ends of a transformer by name: what comes before and after its numbered blocks. */
const FIRST = /embed|_in$|^time|^patch|refiner/;
const LAST = /final|_out$|^out$|^head/;

/** Blocks as data runs through them: a U-Net's halves around its middle, embeddings first, outputs last. */
function inOrder(blocks, last) {
  const place = ({ id }) => {
    const name = blockName(id, last);
    if (!name) return [1, 0];
    return [{ BASE: 0, IN: 2, M: 3, OUT: 4 }[name[0]] ?? 1, Number(name[1])];
  };
  if (last === null)
    return [...blocks].sort((a, b) => familyOf(blocks, a) - familyOf(blocks, b) || compare(a.id, b.id));
  return [...blocks].sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1] || compare(a.id, b.id));
}

const familyOf = (blocks, { id }) => {
  const [family] = id.split(".");
  const end = LAST.test(family) ? 2e6 : FIRST.test(family) ? 0 : 1e6;
  return end + blocks.findIndex((block) => block.id.split(".")[0] === family);
};
const compare = (a, b) => a.localeCompare(b, "en", { numeric: true });

/** Rules as pairs of text, in order; the text must be readable. */
function pairs(text, blocks) {
  return expanded(text, lastOutputBlock(blocks))
    .split(/[,\n;]/)
    .map((part) => part.trim())
    .filter(Boolean)
    .map((part) => {
      const at = part.lastIndexOf("=");
      return { pattern: part.slice(0, at).trim(), weight: part.slice(at + 1).trim() };
    });
}

const join = (rules) => rules.map(({ pattern, weight }) => `${pattern}=${weight}`).join(", ");

/**
 * The text with a pattern's weight set, in front of all others: the first match wins.
 * @param {string} text
 * @param {string} pattern
 * @param {number} value
 * @param {Iterable<string>} blocks
 */
export function writeRules(text, pattern, value, blocks) {
  const rules = safePairs(text, blocks).filter((rule) => rule.pattern !== pattern);
  return join(value === 1 && !rules.length ? [] : [{ pattern, weight: String(value) }, ...rules]);
}

function safePairs(text, blocks) {
  try {
    parseLayers(text, blocks);
    return pairs(text, blocks);
  } catch (error) {
    if (!(error instanceof LayersError)) throw error;
    return [];
  }
}

/**
 * The text with one block's weight set. A rule of the block's own is changed where it stands; else a new
 * one goes in front, after the groups; a rule that says no more than the rest of the text goes.
 */
export function blockRules(text, id, name, value, data) {
  const rules = safePairs(text, data.blocks);
  const alias = /^(IN|OUT|M)\d\d$/.test(name) ? name : id;
  const at = rules.findIndex((rule) => rule.pattern === id || rule.pattern.toUpperCase() === name.toUpperCase());
  const next =
    at >= 0
      ? rules.map((rule, i) => (i === at ? { ...rule, weight: String(value) } : rule))
      : insert(rules, { pattern: alias, weight: String(value) });
  const without = next.filter((rule) => rule.pattern !== alias && rule.pattern !== id);
  return join(sameWeights(join(next), join(without), data) ? without : next);
}

/** After the globs on kinds of tensors, before everything else. */
function insert(rules, rule) {
  const isGroup = ({ pattern }) => GROUPS.some((group) => group.pattern === pattern);
  const end = rules.findIndex((item) => !isGroup(item));
  const place = end < 0 ? rules.length : end;
  return [...rules.slice(0, place), rule, ...rules.slice(place)];
}

function sameWeights(a, b, { names, blocks, blockOf }) {
  const [one, two] = [parseLayers(a, blocks), parseLayers(b, blocks)];
  return names.every((key, k) => one.weight(key, blocks[blockOf[k]]) === two.weight(key, blocks[blockOf[k]]));
}

/**
 * Step curves as published with the first block-merge tool (sdweb-merge-block-weighted-gui,
 * csv/preset.tsv): weights at IN00 … M00 … OUT11, as runs of [weight, places].
 */
const STEPS = {
  ALL: [[1, 25]],
  NONE: [[0, 25]],
  WRAP08: [
    [1, 4],
    [0, 17],
    [1, 4],
  ],
  WRAP12: [
    [1, 6],
    [0, 13],
    [1, 6],
  ],
  WRAP14: [
    [1, 7],
    [0, 11],
    [1, 7],
  ],
  WRAP16: [
    [1, 8],
    [0, 9],
    [1, 8],
  ],
  MID12_50: [
    [0, 5],
    [0.5, 14],
    [0, 6],
  ],
  OUT07: [
    [0, 18],
    [1, 7],
  ],
  OUT12: [
    [0, 13],
    [1, 12],
  ],
  OUT12_5: [
    [0, 12],
    [0.5, 1],
    [1, 12],
  ],
  RING08_SOFT: [
    [0, 5],
    [0.5, 1],
    [1, 3],
    [0.5, 1],
    [0, 5],
    [0.5, 1],
    [1, 3],
    [0.5, 1],
    [0, 5],
  ],
  RING08_5: [
    [0, 6],
    [1, 4],
    [0, 5],
    [1, 4],
    [0, 6],
  ],
  RING10_5: [
    [0, 5],
    [1, 5],
    [0, 5],
    [1, 5],
    [0, 5],
  ],
  RING10_3: [
    [0, 6],
    [1, 5],
    [0, 3],
    [1, 5],
    [0, 6],
  ],
};

/** A step curve at place t, 0 to 1: models with other numbers of blocks take the nearest place. */
function stepAt(runs, t) {
  const all = runs.flatMap(([weight, places]) => Array(places).fill(weight));
  return all[Math.round(t * (all.length - 1))];
}

/** Curves over a model's own blocks: [{name, text}]. */
export function curveChoices(blocks) {
  const last = lastOutputBlock(blocks);
  const places = last === null ? longestFamily(blocks) : blockNames(last + 1);
  if (places.length < 3) return [];
  const size = places.length;
  const text = (weightAt) => places.map((place, i) => `${place}=${Math.round(weightAt(i) * 1e4) / 1e4}`).join(", ");
  return [
    ...Object.entries(STEPS).map(([name, runs]) => ({
      name,
      text: name === "ALL" ? "" : text((i) => stepAt(runs, i / (size - 1))),
    })),
    ...Object.entries(CURVES).map(([name, curve]) => ({ name, text: text((i) => curve(i / (size - 1))) })),
  ];
}

/** The numbered blocks of a transformer, one family after the other. */
function longestFamily(blocks) {
  return [...blocks]
    .filter((block) => /\.\d+$/.test(block))
    .sort((a, b) => {
      const [x, y] = [a, b].map((block) => blocks.findIndex((other) => other.split(".")[0] === block.split(".")[0]));
      return x - y || compare(a, b);
    });
}
