/**
 * Eigenvalues and eigenvectors of small symmetric matrices, without allocating per matrix. Pure.
 * Householder's reduction to three diagonals, then implicit QR steps with Wilkinson's shift
 * (Golub and Van Loan, Matrix Computations, section 8.3): about 9 n³ multiplications.
 */
const EPSILON = 2 ** -52;
const MOST_STEPS = 30; // per eigenvalue; two are usual

/** @param {number} most largest side; @returns a function (a, values, vectors, n) that leaves the
 *  eigenvalues of a [n, n] row-major in `values`, unordered, and an eigenvector per row of `vectors`;
 *  a is overwritten. */
export function eigenSolver(most) {
  const line = () => new Float64Array(most);
  const work = { beside: line(), v: line(), w: line() };
  return (a, values, vectors, n) => {
    vectors.fill(0);
    for (let i = 0; i < n; i += 1) vectors[i * n + i] = 1;
    for (let k = 0; k + 2 < n; k += 1) reflect(a, vectors, n, k, work);
    for (let i = 0; i < n; i += 1) {
      values[i] = a[i * n + i];
      work.beside[i] = i + 1 < n ? a[(i + 1) * n + i] : 0;
    }
    diagonalise(values, work.beside, vectors, n);
  };
}

/** Clears column k below the second diagonal: A ← H A H and rows of `vectors` ← H rows, H = I − b v vᵀ. */
function reflect(a, vectors, n, k, { v, w }) {
  const first = k + 1;
  let rest = 0;
  for (let i = first + 1; i < n; i += 1) rest += a[i * n + k] ** 2;
  if (rest === 0) return;
  const x = a[first * n + k];
  const length = Math.sqrt(x * x + rest);
  const goal = x > 0 ? -length : length;
  for (let i = first; i < n; i += 1) v[i] = a[i * n + k];
  v[first] -= goal;
  const b = 2 / (v[first] * v[first] + rest);
  turnMatrix(a, n, first, v, w, b);
  a[first * n + k] = goal;
  for (let j = 0; j < n; j += 1) w[j] = 0;
  for (let i = first; i < n; i += 1) for (let j = 0; j < n; j += 1) w[j] += v[i] * vectors[i * n + j];
  for (let i = first; i < n; i += 1) {
    const scale = b * v[i];
    for (let j = 0; j < n; j += 1) vectors[i * n + j] -= scale * w[j];
  }
}

/** A ← A − v wᵀ − w vᵀ on rows and columns from `first` on, w = b A v − (b² vᵀA v / 2) v. */
function turnMatrix(a, n, first, v, w, b) {
  let middle = 0;
  for (let i = first; i < n; i += 1) {
    let dot = 0;
    for (let j = first; j < n; j += 1) dot += a[i * n + j] * v[j];
    w[i] = b * dot;
    middle += w[i] * v[i];
  }
  const half = (b * middle) / 2;
  for (let i = first; i < n; i += 1) w[i] -= half * v[i];
  for (let i = first; i < n; i += 1) {
    for (let j = first; j < n; j += 1) a[i * n + j] -= v[i] * w[j] + w[i] * v[j];
  }
}

function diagonalise(d, e, vectors, n) {
  let high = n - 1;
  for (let steps = 0; high > 0 && steps < MOST_STEPS * n; steps += 1) {
    while (high > 0 && negligible(d, e, high - 1)) high -= 1;
    let low = high;
    while (low > 0 && !negligible(d, e, low - 1)) low -= 1;
    if (low < high) step(d, e, vectors, n, low, high);
  }
}

const negligible = (d, e, i) => Math.abs(e[i]) <= EPSILON * (Math.abs(d[i]) + Math.abs(d[i + 1]));

/** One implicit QR step on rows low … high; every rotation turns two rows of `vectors` as well. */
function step(d, e, vectors, n, low, high) {
  const delta = (d[high - 1] - d[high]) / 2;
  const last = e[high - 1];
  const root = Math.sqrt(delta * delta + last * last);
  let x = d[low] - (d[high] - (last * last) / (delta + (delta < 0 ? -root : root)));
  let z = e[low];
  for (let k = low; k < high; k += 1) {
    const r = Math.sqrt(x * x + z * z);
    const c = r > 0 ? x / r : 1;
    const s = r > 0 ? z / r : 0;
    if (k > low) e[k - 1] = r;
    const upper = d[k];
    const lower = d[k + 1];
    const between = e[k];
    d[k] = c * c * upper + 2 * c * s * between + s * s * lower;
    d[k + 1] = s * s * upper - 2 * c * s * between + c * c * lower;
    e[k] = (c * c - s * s) * between + c * s * (lower - upper);
    if (k + 1 < high) {
      x = e[k];
      z = s * e[k + 1];
      e[k + 1] *= c;
    }
    for (let j = 0, i = k * n; j < n; j += 1, i += 1) {
      const p = vectors[i];
      const q = vectors[i + n];
      vectors[i] = c * p + s * q;
      vectors[i + n] = c * q - s * p;
    }
  }
}
