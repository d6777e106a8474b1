/**
 * Deltas made orthogonal to each other, from their Gram, as `orthomerge_core/linalg/projection.py`. Pure.
 *
 * Each export makes, for Grams of `size` deltas, a function (gram, at, on, count, reach, pairs): of the
 * Gram [size, size] that begins at `at`, the first `count` indices in `on` act, in that order, and become
 * δ'. It fills, at the same place, reach[r, i] = ⟨δ_r, δ'_i⟩ of all r and pairs[i, j] = ⟨δ'_i, δ'_j⟩; what
 * belongs to no acting i is left at 0. Nothing is allocated per tensor.
 */
import { eigenSolver } from "./eigen.mjs";

const TINY = 1e-10;

/**
 * Gram–Schmidt in row order; a delta in the span of earlier ones becomes zero. With G = L D Lᵀ of the
 * acting deltas, ⟨δ_r, δ'_i⟩ = L_ri D_i and ‖δ'_i‖² = D_i: no basis is formed.
 */
export function sequential(size) {
  const shares = new Float64Array(size); // L_it of the delta at hand
  return (gram, at, on, count, reach, pairs) => {
    for (let a = 0; a < count; a += 1) {
      const i = on[a];
      const row = at + i * size;
      for (let b = 0; b < a; b += 1) {
        const energy = pairs[at + on[b] * size + on[b]];
        shares[b] = energy > 0 ? reach[row + on[b]] / energy : 0;
      }
      for (let r = 0, from = at; r < size; r += 1, from += size) {
        let rest = gram[from + i];
        for (let b = 0; b < a; b += 1) rest -= reach[from + on[b]] * shares[b];
        reach[from + i] = rest;
      }
      const energy = reach[row + i];
      if (energy > TINY * gram[row + i]) pairs[row + i] = energy;
      else for (let r = 0; r < size; r += 1) reach[at + r * size + i] = 0;
      for (let b = 0; b < a; b += 1) reach[at + on[b] * size + i] = 0; // orthogonal by now
    }
  };
}

/**
 * Order-free: each delta's projection on its own axis of the nearest orthonormal set (Löwdin). With the
 * cosines C = V Λ Vᵀ, δ'_i = s_i Σ_j (C^(−1/2))_ij u_j, u = δ/‖δ‖ and s_i = ‖δ_i‖ (C^(1/2))_ii, roots of
 * the pseudo-inverse where deltas depend.
 */
export function symmetric(size) {
  return orderFree(size, { axis: (value) => 1 / Math.sqrt(value), own: Math.sqrt, orthonormal: true });
}

/**
 * Order-free: ‖δ_i‖² times the dual basis, orthogonal to every other delta, so that row i keeps its weight
 * exactly: δ'_i = ‖δ_i‖ Σ_j (C⁻¹)_ij u_j, the pseudo-inverse where deltas depend.
 */
export function dual(size) {
  return orderFree(size, { axis: (value) => 1 / value, own: null, orthonormal: false });
}

/** δ'_i = s_i Σ_j axis(C)_ij u_j with s_i = ‖δ_i‖ own(C)_ii, or ‖δ_i‖ where `own` is null. */
function orderFree(size, kind) {
  const square = () => new Float64Array(size * size);
  const [cosines, vectors, axes] = [square(), square(), square()];
  const line = () => new Float64Array(size);
  const [norms, values, onto, across] = [line(), line(), line(), line()];
  const eigen = eigenSolver(size);
  return (gram, at, on, count, reach, pairs) => {
    for (let a = 0; a < count; a += 1) norms[a] = Math.sqrt(Math.max(gram[at + on[a] * size + on[a]], 0));
    for (let a = 0; a < count; a += 1) {
      for (let b = 0; b < count; b += 1) {
        const scale = norms[a] * norms[b];
        cosines[a * count + b] = scale > 0 ? gram[at + on[a] * size + on[b]] / scale : 0;
      }
    }
    eigen(cosines, values, vectors, count);
    const deficient = setAxes(kind, values, vectors, axes, onto, count);
    const plain = kind.orthonormal && !deficient;
    for (let a = 0; a < count; a += 1) {
      const s = onto[a] * norms[a];
      const place = at + on[a];
      for (let b = 0; b < count; b += 1) across[b] = axes[a * count + b] / norms[b];
      for (let r = 0, from = at; r < size; r += 1, from += size) {
        let dot = 0;
        for (let b = 0; b < count; b += 1) dot += across[b] * gram[from + on[b]];
        reach[place + r * size] = s * dot;
      }
      if (plain) pairs[place + on[a] * size] = s * s; // the axes are orthonormal
    }
    if (!plain) addPairs(axes, norms, onto, across, at, on, count, size, reach, pairs);
  };
}

/** axes = axis(C), onto = the diagonal of own(C) or 1; whether C has fewer directions than rows. */
function setAxes({ axis, own }, values, vectors, axes, onto, count) {
  let largest = 1;
  for (let e = 0; e < count; e += 1) largest = Math.max(largest, values[e]);
  axes.fill(0);
  onto.fill(own ? 0 : 1);
  let deficient = false;
  for (let e = 0; e < count; e += 1) {
    const value = values[e];
    if (!(value > TINY * largest)) {
      deficient = true;
      continue;
    }
    const factor = axis(value);
    const share = own ? own(value) : 0;
    for (let i = 0; i < count; i += 1) {
      const x = vectors[e * count + i];
      onto[i] += x * x * share;
      for (let j = 0; j < count; j += 1) axes[i * count + j] += x * factor * vectors[e * count + j];
    }
  }
  return deficient;
}

/** ⟨δ'_i, δ'_j⟩ of axes that are not orthonormal: dual ones, or fewer directions than rows. */
function addPairs(axes, norms, onto, across, at, on, count, size, reach, pairs) {
  for (let i = 0; i < count; i += 1) {
    for (let b = 0; b < count; b += 1) across[b] = norms[b] > 0 ? axes[i * count + b] / norms[b] : 0;
    const s = onto[i] * norms[i];
    for (let j = 0; j < count; j += 1) {
      let dot = 0;
      for (let b = 0; b < count; b += 1) dot += across[b] * reach[at + on[b] * size + on[j]];
      pairs[at + on[i] * size + on[j]] = s * dot;
    }
  }
}
