/**
 * Merges whose coefficients are linear in the rows' weights, summed over tensors that are alike. Pure.
 *
 * With δ'_i = Σ_j T_ij δ_j, W − B = Σ_i w_i δ'_i: then ⟨W−B, δ_r⟩ = (H w)_r and ‖W−B‖² = wᵀ Q w with
 * H = G Tᵀ and Q = T G Tᵀ. Neither depends on alpha or repeat, so both are summed once over all
 * tensors of a block that share layer weights and acting rows; an edit then costs one product a group.
 */
import { sequential, symmetric } from "./projection.mjs";

const SOLVE = { sequential, symmetric };

/** Adds to `sums` what the rows give on every block. */
export function mergeLinear(data, method, read, grams, boost, sums) {
  const { size } = grams;
  const weights = new Float64Array(size);
  for (const group of groupsOf(data, method, read, grams, boost)) {
    let copies = 0;
    for (let r = 0; r < read.length; r += 1) if (group.on[r]) copies += read[r].repeat;
    const share = method.averages ? 1 / copies : method.gain;
    for (let r = 0; r < read.length; r += 1) {
      weights[r] = group.on[r] ? read[r].alpha * read[r].repeat * group.layers[r] * share : 0;
    }
    if (boost) weights[size - 1] = boost.alpha;
    addGroup(sums, group, weights, size, method);
  }
}

function addGroup(sums, group, weights, size, { noise, gain }) {
  const { dots, pairs, block } = group;
  let merged = 0;
  let asked = 0; // the texture boost is asked for too, but is not dropped from
  let added = 0;
  for (let r = 0; r < size; r += 1) {
    let dot = 0;
    let energy = 0;
    for (let s = 0; s < size; s += 1) {
      dot += dots[r * size + s] * weights[s];
      energy += pairs[r * size + s] * weights[s];
    }
    sums.dots[block * size + r] += dot;
    merged += weights[r] * energy;
    const boosts = r >= group.on.length;
    const wanted = (boosts ? weights[r] : weights[r] / gain) ** 2 * group.norms2[r];
    asked += wanted;
    if (!boosts) added += noise * wanted;
  }
  sums.merged2[block] += Math.max(merged, 0) + added;
  sums.asked2[block] += asked;
}

/** Groups of alike tensors, kept while rows, parents, layers and the acting rows stay the same. */
function groupsOf(data, method, read, grams, boost) {
  const rows = read.map((row) => (row.active ? row.text : null));
  const id = JSON.stringify([grams.id, method.basis, Boolean(boost), rows]);
  if (data.groups?.id !== id) data.groups = { id, list: makeGroups(data, method, read, grams, boost) };
  return data.groups.list;
}

function makeGroups(data, method, read, grams, boost) {
  const { size, values } = grams;
  const found = new Map();
  for (let k = 0; k < data.keys; k += 1) {
    const gram = values.subarray(k * size * size, (k + 1) * size * size);
    const on = read.map((row, r) => row.active && row.weights[k] !== 0 && gram[r * size + r] > 0);
    const layers = read.map((row, r) => (on[r] ? row.weights[k] : 0));
    const id = `${data.blockOf[k]} ${layers.join(" ")}`;
    if (!found.has(id)) found.set(id, emptyGroup(data.blockOf[k], on, layers, size));
    const group = found.get(id);
    for (let r = 0; r < size; r += 1) group.norms2[r] += gram[r * size + r];
    if (method.basis === "own") addTo(group.dots, gram);
    else addProjected(group, method.basis, gram, on, boost, size);
  }
  if (method.basis === "own") for (const group of found.values()) group.pairs = group.dots;
  return [...found.values()];
}

function emptyGroup(block, on, layers, size) {
  const square = () => new Float64Array(size * size);
  return { block, on, layers, dots: square(), pairs: square(), norms2: new Float64Array(size) };
}

function addTo(total, values) {
  for (let i = 0; i < values.length; i += 1) total[i] += values[i];
}

function addProjected(group, kind, gram, on, boost, size) {
  const rows = on.flatMap((acts, r) => (acts ? [r] : []));
  const count = rows.length;
  const columns = new Float64Array(size * count); // the Gram's columns of the acting rows
  const inner = new Float64Array(count * count);
  for (let r = 0; r < size; r += 1) {
    for (let j = 0; j < count; j += 1) columns[r * count + j] = gram[r * size + rows[j]];
  }
  for (let i = 0; i < count; i += 1) inner.set(columns.subarray(rows[i] * count, (rows[i] + 1) * count), i * count);
  const basis = SOLVE[kind](inner, count);
  const dots = new Float64Array(size * size);
  for (let r = 0; r < size; r += 1) {
    for (let i = 0; i < count; i += 1) {
      const reach = kind === "sequential" ? i + 1 : count; // Gram–Schmidt looks at earlier rows only
      let dot = 0;
      for (let j = 0; j < reach; j += 1) dot += columns[r * count + j] * basis[i * count + j];
      dots[r * size + rows[i]] = dot;
    }
    if (boost) dots[r * size + size - 1] = gram[r * size + size - 1];
  }
  addTo(group.dots, dots);
  addPairs(group.pairs, dots, basis, rows, boost, size);
}

/** Q = T G Tᵀ; the texture boost, where there is one, stands last and is not projected. */
function addPairs(pairs, dots, basis, rows, boost, size) {
  const count = rows.length;
  for (let i = 0; i < count; i += 1) {
    for (let l = 0; l <= i; l += 1) {
      let pair = 0;
      for (let j = 0; j < count; j += 1) pair += basis[l * count + j] * dots[rows[j] * size + rows[i]];
      pairs[rows[i] * size + rows[l]] += pair;
      if (l < i) pairs[rows[l] * size + rows[i]] += pair;
    }
  }
  if (!boost) return;
  const last = size - 1;
  for (const r of rows) {
    pairs[last * size + r] += dots[last * size + r];
    pairs[r * size + last] += dots[last * size + r];
  }
  pairs[last * size + last] += dots[last * size + last];
}
