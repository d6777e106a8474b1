/**
 * Coefficients of a merge from the Gram of its rows, as `orthomerge_core/optimize/estimate.py`. Pure.
 *
 * @typedef {{size: number, gram: Float64Array, alphas: Float64Array, repeats: Float64Array,
 *   spin: number, side: number}} Tensorwise the rows that act on one tensor; gram [size, size]
 */
const TINY = 1e-10;

const DEFAULTS = {
  orthogonal_projection: { variant: "sequential" },
  orthomerge: { theta_agg: "mean", direction_weight: "theta", residual_agg: "mean", max_rotation_dim: 4096 },
};
const ADDING = ["task_arithmetic", "orthogonal_projection", "slerp", "ties", "dare", "della"];
const AVERAGING = ["average", "model_stock", "geometric_median"];
const EXACT = ["task_arithmetic", "average", "orthogonal_projection"];

/** A method by name with its options filled in; throws for a name without a forecast. */
export function readMethod(name, options = {}) {
  if (!ADDING.includes(name) && !AVERAGING.includes(name) && name !== "orthomerge") {
    throw new Error(`no forecast for method "${name}"`);
  }
  const chosen = { ...DEFAULTS[name], ...options };
  const averages = name === "orthomerge" ? chosen.residual_agg === "mean" : AVERAGING.includes(name);
  return { name, options: chosen, averages, exact: EXACT.includes(name) };
}

/** What the table asks of each row before rows meet: r_i α_i, over Σ r_i where the method averages. */
export function askedWeights(method, rows) {
  const asked = rows.alphas.map((alpha, i) => alpha * rows.repeats[i]);
  return method.averages ? asked.map((w) => w / sum(rows.repeats)) : asked;
}

/**
 * How the rows of one tensor are merged: shares [f, c], of which f of the energy has coefficients c.
 * @param {{basis?: Float64Array}} memo keeps the projection's basis while the acting rows are the same
 */
export function shares(method, rows, asked, memo) {
  if (method.name === "orthogonal_projection") {
    const solve = method.options.variant === "symmetric" ? symmetric : sequential;
    memo.basis ??= solve(rows.gram, rows.size);
    return [[1, timesBasis(asked, memo.basis, rows.size)]];
  }
  if (method.name === "orthomerge" && rows.side > 0 && rows.side <= method.options.max_rotation_dim) {
    return [[1 - rows.spin, asked], [rows.spin, rotation(method.options, rows)]];
  }
  return [[1, asked]];
}

const sum = (values) => values.reduce((total, v) => total + v, 0);

function timesBasis(weights, basis, size) {
  const out = new Float64Array(size);
  for (let i = 0; i < size; i += 1) {
    for (let j = 0; j < size; j += 1) out[j] += weights[i] * basis[i * size + j];
  }
  return out;
}

/** Gram–Schmidt in row order: T [size, size] with δ'_i = Σ_j T_ij δ_j, as `linalg/projection.py`. */
export function sequential(gram, size) {
  const basis = new Float64Array(size * size);
  const images = new Float64Array(size * size); // G t of every earlier row
  const energies = new Float64Array(size);
  for (let i = 0; i < size; i += 1) {
    const v = basis.subarray(i * size, (i + 1) * size);
    const image = images.subarray(i * size, (i + 1) * size);
    v[i] = 1;
    for (let t = 0; t < i; t += 1) {
      if (!(energies[t] > 0)) continue;
      let overlap = 0;
      for (let j = 0; j < size; j += 1) overlap += v[j] * images[t * size + j];
      for (let j = 0; j <= t; j += 1) v[j] -= (overlap / energies[t]) * basis[t * size + j];
    }
    for (let j = 0; j < size; j += 1) {
      for (let l = 0; l <= i; l += 1) image[j] += gram[j * size + l] * v[l];
    }
    const rest = v.reduce((total, value, j) => total + value * image[j], 0);
    if (rest > TINY * gram[i * size + i]) energies[i] = rest;
    else v.fill(0);
  }
  return basis;
}

/** Order-free orthonormalisation (Löwdin), as `linalg/projection.py`. */
export function symmetric(gram, size) {
  const norms = Float64Array.from({ length: size }, (_, i) => Math.sqrt(Math.max(gram[i * size + i], 0)));
  const scale = norms.map((n) => (n > 0 ? 1 / n : 0));
  const cosines = gram.map((g, at) => g * scale[Math.floor(at / size)] * scale[at % size]);
  const { values, vectors } = eigen(cosines, size);
  const floor = TINY * Math.max(...values, 1);
  const root = values.map((v) => (v > floor ? Math.sqrt(v) : 0));
  const basis = new Float64Array(size * size);
  for (let i = 0; i < size; i += 1) {
    let onto = 0;
    for (let e = 0; e < size; e += 1) onto += vectors[i * size + e] ** 2 * root[e];
    for (let j = 0; j < size; j += 1) {
      let axis = 0;
      for (let e = 0; e < size; e += 1) {
        if (root[e] > 0) axis += (vectors[i * size + e] * vectors[j * size + e]) / root[e];
      }
      basis[i * size + j] = onto * norms[i] * axis * scale[j];
    }
  }
  return basis;
}

/** Eigenvalues and columns of eigenvectors of a small symmetric matrix (cyclic Jacobi). */
function eigen(matrix, size) {
  const a = Float64Array.from(matrix);
  const vectors = new Float64Array(size * size);
  for (let i = 0; i < size; i += 1) vectors[i * size + i] = 1;
  for (let sweep = 0; sweep < 30; sweep += 1) {
    let off = 0;
    for (let p = 0; p < size; p += 1) {
      for (let q = p + 1; q < size; q += 1) {
        off += a[p * size + q] ** 2;
        turn(a, vectors, size, p, q);
      }
    }
    if (off < 1e-28) break;
  }
  return { values: Float64Array.from({ length: size }, (_, i) => a[i * size + i]), vectors };
}

function turn(a, vectors, size, p, q) {
  const apq = a[p * size + q];
  if (Math.abs(apq) < 1e-300) return;
  const theta = (a[q * size + q] - a[p * size + p]) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < size; k += 1) {
    const [x, y] = [a[k * size + p], a[k * size + q]];
    a[k * size + p] = c * x - s * y;
    a[k * size + q] = s * x + c * y;
  }
  for (let k = 0; k < size; k += 1) {
    const [x, y] = [a[p * size + k], a[q * size + k]];
    a[p * size + k] = c * x - s * y;
    a[q * size + k] = s * x + c * y;
    const [u, v] = [vectors[k * size + p], vectors[k * size + q]];
    vectors[k * size + p] = c * u - s * v;
    vectors[k * size + q] = s * u + c * v;
  }
}

/** The rotational share of orthomerge, as if generators met as deltas do. */
function rotation(options, rows) {
  const own = rows.alphas.map((_, i) => Math.sqrt(rows.gram[i * rows.size + i]));
  const angles = rows.alphas.map((alpha, i) => Math.abs(alpha) * own[i]);
  const say = options.direction_weight === "equal" ? angles.map(() => 1) : angles;
  const direction = rows.alphas.map((alpha, i) => (rows.repeats[i] * say[i] * Math.sign(alpha)) / own[i]);
  const length = norm(rows, direction);
  if (length <= 1e-12 * sum(say.map((w, i) => w * rows.repeats[i]))) return direction.map(() => 0);
  const total = sum(rows.repeats);
  const mean = rows.alphas.map((alpha, i) => (rows.repeats[i] * alpha) / total);
  const cap = Math.sqrt(rows.size) * norm(rows, mean);
  const wanted = Math.min(aggregate(angles, rows.repeats, options.theta_agg), cap);
  return direction.map((v) => (v * wanted) / length);
}

function norm(rows, weights) {
  let energy = 0;
  for (let i = 0; i < rows.size; i += 1) {
    for (let j = 0; j < rows.size; j += 1) energy += weights[i] * rows.gram[i * rows.size + j] * weights[j];
  }
  return Math.sqrt(Math.max(energy, 0));
}

function aggregate(angles, repeats, how) {
  const copies = [...angles].flatMap((angle, i) => Array(repeats[i]).fill(angle)).sort((a, b) => a - b);
  const middle = (copies.length - 1) / 2;
  if (how === "median") return (copies[Math.floor(middle)] + copies[Math.ceil(middle)]) / 2;
  if (how === "max") return copies[copies.length - 1];
  return how === "sum" ? sum(copies) : sum(copies) / copies.length;
}
