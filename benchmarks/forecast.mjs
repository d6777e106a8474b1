/**
 * How long the browser's forecast takes: 12 rows over 12 models, 700 tensors in 59 blocks.
 *
 *     node benchmarks/forecast.mjs
 *
 * "edit": alpha, repeat or the texture boost changes. "structure": a parent changes, so Grams and
 * projections are made anew. Median of many calls after warming up, in milliseconds.
 */
import { readFileSync } from "node:fs";

import { forecast as forecastOf } from "../web/js/forecast/forecast.mjs";

const [MODELS, TENSORS, BLOCKS, SIZE] = [12, 700, 59, 40];
const METHODS = [
  ["task_arithmetic", {}],
  ["average", {}],
  ["orthogonal_projection", {}],
  ["orthogonal_projection", { variant: "symmetric" }],
  ["orthomerge", {}],
  ["model_stock", {}],
  ["geometric_median", {}],
];

const { methods } = JSON.parse(readFileSync(new URL("../tests/fixtures/forecast.json", import.meta.url)));
const forecast = (data, rows, name, options) => forecastOf(data, rows, { name, ...methods[name] }, options);

let state = 1;
function random() {
  // mulberry32, so that every run has the same figures
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32 - 0.5;
}

function reducedFigures() {
  const distances = [];
  for (let k = 0; k < TENSORS; k += 1) {
    const points = [Array(SIZE).fill(0)];
    for (let i = 0; i < MODELS; i += 1) points.push(Array.from({ length: SIZE }, random));
    for (let a = 0; a <= MODELS; a += 1) {
      for (let b = a + 1; b <= MODELS; b += 1) {
        distances.push(points[a].reduce((sum, x, i) => sum + (x - points[b][i]) ** 2, 0));
      }
    }
  }
  const block = (k) => Math.floor((k * BLOCKS) / TENSORS);
  const each = (make) => Array.from({ length: TENSORS }, (_, k) => make(k));
  return {
    version: 1,
    names: Array.from({ length: MODELS }, (_, i) => `m${i}`),
    keys: each((k) => `blocks.${block(k)}.attn.${k % 12}.weight`),
    blocks: Array.from({ length: BLOCKS }, (_, b) => `blocks.${b}`),
    block_of: each(block),
    base_energy: each(() => 1000),
    spin: each(() => 0.25),
    side: each(() => 3072),
    distances: { dtype: "f8", data: Buffer.from(Float64Array.from(distances).buffer).toString("base64") },
  };
}

function median(count, call) {
  const times = [];
  for (let i = 0; i < count; i += 1) {
    const begun = performance.now();
    call(i);
    times.push(performance.now() - begun);
  }
  return times.sort((a, b) => a - b)[count >> 1];
}

const reduced = reducedFigures();
const rows = reduced.names.map((model, i) => ({
  enabled: true,
  model,
  delta_from: i > 3 ? `m${i - 3}` : "base",
  alpha: 1,
  repeat: 1,
  layers: i % 3 ? "" : "*attn.3*=0.5, blocks.1-9=0.2",
}));
const begun = performance.now();
forecast(reduced, [], "average");
console.log(
  `reduced figures: ${Math.round(JSON.stringify(reduced).length / 1024)} KiB, decoded once in ${(performance.now() - begun).toFixed(1)} ms`,
);
console.log("method".padEnd(36), "edit".padStart(8), "structure".padStart(10));
for (const [method, options] of METHODS) {
  const call = () => forecast(reduced, rows, method, options);
  median(20, call);
  const edit = median(60, (i) => {
    rows[0].alpha = 1 + i / 100;
    call();
  });
  const reparent = (i) => {
    rows[5].delta_from = i % 2 ? "base" : "m1";
    call();
  };
  median(20, reparent);
  const structure = median(40, reparent);
  console.log(
    `${method} ${options.variant ?? ""}`.padEnd(36),
    edit.toFixed(3).padStart(8),
    structure.toFixed(3).padStart(10),
  );
}
