import assert from "node:assert/strict";
import { test } from "node:test";

import { eigenSolver } from "../../web/js/forecast/eigen.mjs";

let state = 7;
function random() {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return state / 2 ** 30 - 1;
}

/** A symmetric matrix B Bᵀ / cols of n rows; of rank `cols` where that is smaller. */
function gram(n, cols) {
  const rows = Array.from({ length: n }, () => Array.from({ length: cols }, random));
  return Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    return rows[i].reduce((sum, x, c) => sum + x * rows[j][c], 0) / cols;
  });
}

const CASES = [
  ["full", 12, gram(12, 40)],
  ["of rank 3", 9, gram(9, 3)],
  ["of one", 1, gram(1, 4)],
  ["of two", 2, gram(2, 4)],
  ["of three", 3, gram(3, 9)],
  ["diagonal", 4, Float64Array.from({ length: 16 }, (_, i) => (i % 5 ? 0 : i + 1))],
  ["all ones", 6, new Float64Array(36).fill(1)],
  ["nothing", 5, new Float64Array(25)],
  ["tiny", 8, gram(8, 20).map((x) => x * 1e-60)],
  ["indefinite", 7, gram(7, 20).map((x, i) => (i % 8 ? x : -x))],
];

for (const [name, n, matrix] of CASES) {
  test(`a matrix that is ${name}: A = Vᵀ Λ V with orthonormal V`, () => {
    const [values, vectors] = [new Float64Array(n), new Float64Array(n * n)];
    eigenSolver(12)(matrix.slice(), values, vectors, n);
    const scale = Math.max(...matrix.map(Math.abs));
    for (let i = 0; i < n; i += 1) {
      for (let j = 0; j < n; j += 1) {
        let [made, inner] = [0, 0];
        for (let e = 0; e < n; e += 1) {
          made += values[e] * vectors[e * n + i] * vectors[e * n + j];
          inner += vectors[i * n + e] * vectors[j * n + e];
        }
        assert.ok(Math.abs(made - matrix[i * n + j]) <= 1e-13 * n * scale, `A ${i} ${j}`);
        assert.ok(Math.abs(inner - (i === j ? 1 : 0)) <= 1e-13 * n, `V ${i} ${j}`);
      }
    }
  });
}
