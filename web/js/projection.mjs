/**
 * Deltas made orthogonal to each other, from their Gram, as `orthomerge_core/linalg/projection.py`. Pure.
 * Each returns T [size, size], row-major, with δ'_i = Σ_j T_ij δ_j.
 */
const TINY = 1e-10;
const SWEEPS = 30;
const SMALL = 1e-12;

/** Gram–Schmidt in row order; a delta in the span of earlier ones becomes zero. */
export function sequential(gram, size) {
  const basis = new Float64Array(size * size);
  const images = new Float64Array(size * size); // G t of every earlier row
  const energies = new Float64Array(size);
  for (let i = 0; i < size; i += 1) {
    const at = i * size;
    basis[at + i] = 1;
    for (let t = 0; t < i; t += 1) {
      if (!(energies[t] > 0)) continue;
      let overlap = 0;
      for (let j = 0; j <= i; j += 1) overlap += basis[at + j] * images[t * size + j];
      overlap /= energies[t];
      for (let j = 0; j <= t; j += 1) basis[at + j] -= overlap * basis[t * size + j];
    }
    let rest = 0;
    for (let j = 0; j < size; j += 1) {
      let image = 0;
      for (let l = 0; l <= i; l += 1) image += gram[j * size + l] * basis[at + l];
      images[at + j] = image;
      rest += image * basis[at + j];
    }
    if (rest > TINY * gram[at + i]) energies[i] = rest;
    else basis.fill(0, at, at + size);
  }
  return basis;
}

/** Order-free: each delta's projection on its own axis of the nearest orthonormal set (Löwdin). */
export function symmetric(gram, size) {
  const norms = new Float64Array(size);
  for (let i = 0; i < size; i += 1) norms[i] = Math.sqrt(Math.max(gram[i * size + i], 0));
  const cosines = new Float64Array(size * size);
  for (let i = 0; i < size; i += 1) {
    for (let j = 0; j < size; j += 1) {
      const scale = norms[i] * norms[j];
      cosines[i * size + j] = scale > 0 ? gram[i * size + j] / scale : 0;
    }
  }
  const { values, vectors } = eigen(cosines, size);
  const floor = TINY * Math.max(1, ...values);
  const axes = new Float64Array(size * size); // C^(−1/2), the pseudo-inverse's where deltas depend
  const onto = new Float64Array(size); // the diagonal of C^(1/2)
  for (let e = 0; e < size; e += 1) {
    if (!(values[e] > floor)) continue;
    const root = Math.sqrt(values[e]);
    for (let i = 0; i < size; i += 1) {
      const x = vectors[e * size + i];
      onto[i] += x * x * root;
      for (let j = 0; j < size; j += 1) axes[i * size + j] += (x / root) * vectors[e * size + j];
    }
  }
  for (let i = 0; i < size; i += 1) {
    for (let j = 0; j < size; j += 1) {
      axes[i * size + j] *= norms[j] > 0 ? (onto[i] * norms[i]) / norms[j] : 0;
    }
  }
  return axes;
}

/** Eigenvalues and eigenvectors (one a row) of a small symmetric matrix, which is overwritten: Jacobi. */
function eigen(a, size) {
  const vectors = new Float64Array(size * size);
  for (let i = 0; i < size; i += 1) vectors[i * size + i] = 1;
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    let off = 0;
    for (let p = 0; p < size; p += 1) {
      for (let q = p + 1; q < size; q += 1) {
        const x = a[p * size + q];
        off += x * x;
        if (Math.abs(x) > SMALL) turn(a, vectors, size, p, q);
      }
    }
    if (off < size * size * SMALL * SMALL) break;
  }
  const values = new Float64Array(size);
  for (let i = 0; i < size; i += 1) values[i] = a[i * size + i];
  return { values, vectors };
}

function turn(a, vectors, size, p, q) {
  const theta = (a[q * size + q] - a[p * size + p]) / (2 * a[p * size + q]);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  turnRows(a, size, p, q, c, s);
  for (let k = 0, at = 0; k < size; k += 1, at += size) {
    const x = a[at + p];
    const y = a[at + q];
    a[at + p] = c * x - s * y;
    a[at + q] = s * x + c * y;
  }
  turnRows(vectors, size, p, q, c, s);
}

function turnRows(m, size, p, q, c, s) {
  for (let k = 0, i = p * size, j = q * size; k < size; k += 1, i += 1, j += 1) {
    const x = m[i];
    const y = m[j];
    m[i] = c * x - s * y;
    m[j] = s * x + c * y;
  }
}
