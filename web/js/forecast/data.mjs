/**
 * The optimizer's reduced figures, decoded: distances between models, and Grams of the table's rows.
 * Pure; what is derived from the same figures twice is kept for the figures' own lifetime.
 */
import { parseLayers } from "../table/layers.mjs";

const BASE = "base";
const DIFFUSION = "diffusion";
const PART = /^(text_encoder\.[^.]+|vae)\./;
const VERSION = 1;
const MOST_TEXTS = 256;
const decoded = new WeakMap();

/** The component of a block or key; see `component_of` in `orthomerge_core/keys/components.py`. */
export const componentOf = (name) => PART.exec(`${name}.`)?.[1] ?? DIFFUSION;

/**
 * @param {object} reduced `reduce_for_table`'s JSON
 * @returns {object} names, blocks, and `at(k, a, b)`: ‖M_a − M_b‖² on tensor k, exact 0 where equal
 */
export function decode(reduced) {
  if (!decoded.has(reduced)) {
    if (reduced?.version !== VERSION) throw new Error("forecast data of another version");
    decoded.set(reduced, unpack(reduced));
  }
  return decoded.get(reduced);
}

function viewOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return new DataView(bytes.buffer);
}

function unpack(reduced) {
  const view = viewOf(reduced.distances.data);
  const wide = reduced.distances.dtype === "f8";
  const count = reduced.names.length + 1;
  const keys = reduced.keys.length;
  const distances = new Float64Array(keys * count * count);
  let offset = 0;
  for (let k = 0; k < keys; k += 1) {
    for (let a = 0; a < count; a += 1) {
      for (let b = a + 1; b < count; b += 1) {
        const value = wide ? view.getFloat64(offset, true) : view.getFloat32(offset, true);
        offset += wide ? 8 : 4;
        distances[(k * count + a) * count + b] = value;
        distances[(k * count + b) * count + a] = value;
      }
    }
  }
  const node = new Map([[BASE, 0], ...reduced.names.map((name, i) => [name, i + 1])]);
  const partOf = reduced.blocks.map(componentOf);
  const parts = [...new Set(reduced.block_of.map((block) => partOf[block]))];
  const baseEnergies = new Map(parts.map((part) => [part, 0]));
  reduced.base_energy.forEach((energy, k) => {
    const part = partOf[reduced.block_of[k]];
    baseEnergies.set(part, baseEnergies.get(part) + energy);
  });
  return {
    keys,
    count,
    distances,
    node,
    parts,
    partOf,
    inside: Uint8Array.from(reduced.block_of, (block) => (partOf[block] === DIFFUSION ? 1 : 0)),
    baseEnergies,
    names: reduced.keys,
    blocks: reduced.blocks,
    blockOf: reduced.block_of,
    spin: reduced.spin,
    side: reduced.side,
    layers: new Map(),
    grams: null,
    projections: null,
  };
}

/** Layer weights of a text on every tensor; null where it cannot be read. */
export function layerWeights(data, text) {
  if (!data.layers.has(text)) {
    if (data.layers.size >= MOST_TEXTS) data.layers.clear();
    data.layers.set(text, readLayers(data, text));
  }
  return data.layers.get(text);
}

function readLayers(data, text) {
  try {
    const layers = parseLayers(text, data.blocks);
    return Float64Array.from(data.names, (key, k) => layers.weight(key, data.blocks[data.blockOf[k]]));
  } catch {
    return null;
  }
}

/**
 * Grams ⟨δ_r, δ_s⟩ of rows given as [model, parent] nodes; only rows that changed are made anew.
 * @returns {{id: string, size: number, values: Float64Array, total: Float64Array, blockNorms2: Float64Array}}
 *   values [keys, rows, rows] row-major, total [rows, rows] over the diffusion model, blockNorms2 [blocks, rows]
 */
export function rowGrams(data, nodes) {
  const id = nodes.join(" ");
  if (data.grams?.id === id) return data.grams;
  const size = nodes.length;
  if (data.grams?.size !== size) data.grams = emptyGrams(data, size);
  const { grams } = data;
  const stale = nodes.map(([m, p], r) => m !== grams.nodes[r][0] || p !== grams.nodes[r][1]);
  grams.nodes = nodes.map((node) => [...node]);
  grams.id = id;
  for (let r = 0; r < size; r += 1) if (stale[r]) fillRow(data, grams, r, stale);
  return grams;
}

function emptyGrams({ keys, blocks }, size) {
  return {
    id: "",
    size,
    nodes: Array.from({ length: size }, () => [-1, -1]),
    values: new Float64Array(keys * size * size),
    total: new Float64Array(size * size),
    blockNorms2: new Float64Array(blocks.length * size),
  };
}

/** Row and column r of every Gram; columns of later stale rows are left to those. */
function fillRow({ keys, count, distances: d, blockOf, blocks, inside }, grams, r, stale) {
  const { size, values, total, blockNorms2, nodes } = grams;
  const [m, p] = nodes[r];
  for (let b = 0; b < blocks.length; b += 1) blockNorms2[b * size + r] = 0;
  for (let s = 0; s < size; s += 1) {
    if (stale[s] && s < r) continue;
    const [n, q] = nodes[s];
    const [mq, pn, mn, pq] = [m * count + q, p * count + n, m * count + n, p * count + q];
    let sum = 0;
    for (let k = 0, from = 0, at = 0; k < keys; k += 1, from += count * count, at += size * size) {
      const value = (d[from + mq] + d[from + pn] - d[from + mn] - d[from + pq]) / 2;
      values[at + r * size + s] = value;
      values[at + s * size + r] = value;
      if (inside[k]) sum += value;
      if (s === r) blockNorms2[blockOf[k] * size + r] += value;
    }
    total[r * size + s] = sum;
    total[s * size + r] = sum;
  }
}

/**
 * ‖δ‖² of a row on every tensor; null where its models are not known.
 * @param {any} data
 * @param {{model: string, delta_from: string}} row
 */
export function rowEnergies(data, row) {
  const [model, parent] = [data.node.get(row.model), data.node.get(row.delta_from)];
  if (model === undefined || parent === undefined) return null;
  const { keys, count, distances } = data;
  return Float64Array.from({ length: keys }, (_, k) => distances[(k * count + model) * count + parent]);
}
