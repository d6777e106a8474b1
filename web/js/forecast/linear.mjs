/**
 * Merges whose coefficients are linear in the rows' weights. Pure.
 *
 * With δ'_i = Σ_j T_ij δ_j, W − B = Σ_i w_i δ'_i: then ⟨W−B, δ_r⟩ = (H w)_r and ‖W−B‖² = wᵀ Q w with
 * H = G Tᵀ and Q = T G Tᵀ. Neither depends on alpha or repeat, so both are kept per tensor while rows,
 * parents and layers stay; an edit then costs one product a tensor. Own deltas need neither: H = Q = G.
 */
import { dual, sequential, symmetric } from "./projection.mjs";

const PROJECT = { dual, sequential, symmetric };

/** Adds to `sums` what the rows give on every block. */
export function mergeLinear(data, method, read, grams, boost, sums) {
  const { size, values } = grams;
  const acting = actingRows(data, read, grams);
  const projected = method.basis === "own" ? null : projections(data, method.basis, read, grams, acting);
  const rows = read.length;
  const weights = new Float64Array(size);
  for (let k = 0; k < data.keys; k += 1) {
    setWeights(weights, method, read, acting, k);
    if (boost) weights[rows] = boost.on(data.blockOf[k]);
    const at = k * size * size;
    const reach = projected ? projected.reach : values; // H
    const block = data.blockOf[k];
    let merged = 0;
    for (let r = 0; r < size; r += 1) {
      let dot = 0;
      for (let s = 0, i = at + r * size; s < size; s += 1, i += 1) dot += reach[i] * weights[s];
      sums.dots[block * size + r] += dot;
      merged += weights[r] * dot;
    }
    if (projected) merged = projectedEnergy(projected, weights, at, size, boost ? rows : -1);
    addEnergies(sums, block, merged, method, weights, values, at, size, rows);
  }
}

/** Weights of the rows on tensor k: r_i α_i layer_i, divided by Σ r_i of those acting where it averages. */
function setWeights(weights, method, read, acting, k) {
  const rows = read.length;
  let copies = 0;
  for (let r = 0; r < rows; r += 1) if (acting[k * rows + r]) copies += read[r].repeat;
  const share = method.averages ? 1 / copies : method.gain;
  for (let r = 0; r < rows; r += 1) {
    const row = read[r];
    weights[r] = acting[k * rows + r] ? row.alpha * row.repeat * row.weights[k] * share : 0;
  }
}

/** ‖W−B‖² = wᵀ Q w; the texture boost, where there is one, stands last and is not projected. */
function projectedEnergy({ reach, pairs }, weights, at, size, last) {
  const rows = last < 0 ? size : last;
  let merged = 0;
  for (let i = 0; i < rows; i += 1) {
    if (weights[i] === 0) continue;
    let energy = 0;
    for (let j = 0; j < rows; j += 1) energy += pairs[at + i * size + j] * weights[j];
    merged += weights[i] * energy;
  }
  if (last < 0) return merged;
  let boosted = weights[last] * reach[at + last * size + last];
  for (let i = 0; i < last; i += 1) boosted += 2 * weights[i] * reach[at + last * size + i];
  return merged + weights[last] * boosted;
}

function addEnergies(sums, block, merged, { noise, gain }, weights, gram, at, size, rows) {
  let asked = 0; // the texture boost is asked for too, but is not dropped from
  for (let r = 0; r < rows; r += 1) asked += (weights[r] / gain) ** 2 * gram[at + r * size + r];
  sums.merged2[block] += Math.max(merged, 0) + noise * asked;
  for (let r = rows; r < size; r += 1) asked += weights[r] ** 2 * gram[at + r * size + r];
  sums.asked2[block] += asked;
}

/** Which rows act on which tensor [keys, rows]: on, with weight there, and of a change there. */
function actingRows(data, read, { size, values }) {
  const rows = read.length;
  const acting = new Uint8Array(data.keys * rows);
  read.forEach(({ active, weights }, r) => {
    if (!active) return;
    for (let k = 0; k < data.keys; k += 1) {
      const norm2 = values[(k * size + r) * size + r];
      acting[k * rows + r] = weights[k] !== 0 && norm2 > 0 ? 1 : 0;
    }
  });
  return acting;
}

/** H and Q of every tensor, kept while rows, parents, layers and the acting rows stay the same. */
function projections(data, basis, read, grams, acting) {
  const rows = read.map((row) => (row.active ? row.text : null));
  const id = JSON.stringify([grams.id, basis, grams.size, rows]);
  if (data.projections?.id !== id) data.projections = { id, ...makeProjections(data, basis, read, grams, acting) };
  return data.projections;
}

/** The arrays of the last projections serve again: fresh megabytes at every edit would be collected. */
function clearedArrays(data, length) {
  const { reach, pairs } = data.projections ?? {};
  if (reach?.length !== length) return [new Float64Array(length), new Float64Array(length)];
  return [reach.fill(0), pairs.fill(0)];
}

function makeProjections(data, basis, read, { size, values }, acting) {
  const [reach, pairs] = clearedArrays(data, values.length);
  const rows = read.length;
  const on = new Int32Array(rows);
  const project = PROJECT[basis](size);
  for (let k = 0; k < data.keys; k += 1) {
    let count = 0;
    for (let r = 0; r < rows; r += 1) if (acting[k * rows + r]) on[count++] = r;
    const at = k * size * size;
    project(values, at, on, count, reach, pairs);
    for (let r = 0; rows < size && r < size; r += 1) reach[at + r * size + rows] = values[at + r * size + rows];
  }
  return { reach, pairs };
}
