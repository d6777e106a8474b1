/**
 * The optimizer's reduced figures, decoded: distances between models, and Grams of the table's rows.
 * Pure; what is derived from the same figures twice is kept for the figures' own lifetime.
 */
import { parseLayers } from "./layers.mjs";

const BASE = "base";
const VERSION = 1;
const MOST_TEXTS = 256;
const decoded = new WeakMap();

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
  const baseEnergy = reduced.base_energy.reduce((sum, e) => sum + e, 0);
  return {
    keys, count, distances, node, baseEnergy, names: reduced.keys, blocks: reduced.blocks,
    blockOf: reduced.block_of, spin: reduced.spin, side: reduced.side,
    layers: new Map(), grams: null, groups: null,
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
    const layers = parseLayers(text);
    return Float64Array.from(data.names, (key, k) => layers.weight(key, data.blocks[data.blockOf[k]]));
  } catch {
    return null;
  }
}

/**
 * Grams ⟨δ_r, δ_s⟩ of rows given as [model, parent] nodes, for as long as the rows stay the same.
 * @returns {{id: string, size: number, values: Float64Array, total: Float64Array, blockNorms2: Float64Array}}
 *   values [keys, rows, rows] row-major, total [rows, rows], blockNorms2 [blocks, rows]
 */
export function rowGrams(data, nodes) {
  const id = nodes.join(" ");
  if (data.grams?.id !== id) data.grams = { id, size: nodes.length, ...makeGrams(data, nodes) };
  return data.grams;
}

function makeGrams({ keys, count, distances: d, blocks, blockOf }, nodes) {
  const size = nodes.length;
  const values = new Float64Array(keys * size * size);
  const total = new Float64Array(size * size);
  const blockNorms2 = new Float64Array(blocks.length * size);
  for (let k = 0; k < keys; k += 1) {
    const from = k * count * count;
    for (let r = 0; r < size; r += 1) {
      const [m, p] = nodes[r];
      for (let s = r; s < size; s += 1) {
        const [n, q] = nodes[s];
        const value = (d[from + m * count + q] + d[from + p * count + n]
          - d[from + m * count + n] - d[from + p * count + q]) / 2;
        values[(k * size + r) * size + s] = value;
        values[(k * size + s) * size + r] = value;
        total[r * size + s] += value;
        if (s !== r) total[s * size + r] += value;
        else blockNorms2[blockOf[k] * size + r] += value;
      }
    }
  }
  return { values, total, blockNorms2 };
}
