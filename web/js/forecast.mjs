/**
 * What a table will keep of every model, from the optimizer's reduced figures alone. Pure.
 * The same as `orthomerge_core/optimize/forecast.py`; both run on `tests/fixtures/forecast.json`.
 *
 * @typedef {{norm: number | null, new_information: number | null, retention: number | null,
 *   problem: "" | "model" | "delta_from" | "layers"}} RowForecast
 * @typedef {{method: string, exact: boolean, norm: number, base_share: number | null,
 *   cancellation: number | null, rows: RowForecast[],
 *   blocks: {block: string, norm: number, cancellation: number | null, retention: (number | null)[]}[]}} Forecast
 */
import { decode, layerWeights, rowGrams } from "./forecast_data.mjs";
import { askedWeights, readMethod, shares } from "./forecast_methods.mjs";

const BASE = "base";

/**
 * @param {object} reduced `reduce_for_table`'s JSON; decoded once as long as it is the same object
 * @param {object[]} rows the table's rows, all of them
 * @param {string} method
 * @param {object} [options] the method's options, as far as they differ from the defaults
 * @param {{model: string | null, alpha: number} | null} [texture] the texture boost
 * @returns {Forecast} exact: equal to what the merge measures; else an estimate
 */
export function forecast(reduced, rows, method, options = {}, texture = null) {
  const chosen = readMethod(method, options);
  const data = decode(reduced);
  const read = rows.map((row) => readRow(data, row));
  const boost = readTexture(data, rows, texture);
  const grams = rowGrams(data, [...read.map((row) => row.nodes), ...(boost ? [boost.nodes] : [])]);
  const sums = merge(data, chosen, read, grams, boost);
  const merged2 = total(sums.merged2);
  const norm = Math.sqrt(merged2);
  return {
    method,
    exact: chosen.exact,
    norm,
    base_share: data.baseEnergy > 0 ? norm / Math.sqrt(data.baseEnergy) : null,
    cancellation: cancellation(merged2, total(sums.asked2)),
    rows: read.map((row, r) => rowFigures(row, r, read, grams, sums)),
    blocks: data.blocks.map((block, b) => ({
      block,
      norm: Math.sqrt(sums.merged2[b]),
      cancellation: cancellation(sums.merged2[b], sums.asked2[b]),
      retention: read.map((row, r) => (row.problem ? null : ratio(sums.dots[b], sums.norms2[b], r))),
    })),
  };
}

const total = (values) => values.reduce((sum, v) => sum + v, 0);
const cancellation = (merged2, asked2) => (asked2 > 0 ? 1 - merged2 / asked2 : null);
const ratio = (dots, norms2, r) => (norms2[r] > 0 ? dots[r] / norms2[r] : null);

function readRow(data, row) {
  const [model, parent] = [data.node.get(row.model), data.node.get(row.delta_from ?? BASE)];
  const layers = layerWeights(data, row.layers ?? "");
  const problem = (!model && "model") || (parent === undefined && "delta_from") || (!layers && "layers") || "";
  const alpha = Number.isFinite(row.alpha ?? 1) ? row.alpha ?? 1 : 0;
  return {
    problem, alpha, weights: layers?.weights, zeros: layers?.zeros,
    repeat: row.repeat ?? 1,
    nodes: problem ? [0, 0] : [model, parent],
    active: !problem && (row.enabled ?? true) && alpha !== 0,
  };
}

function readTexture(data, rows, texture) {
  const model = texture?.alpha ? data.node.get(texture.model) : undefined;
  const parent = data.node.get(rows.find((row) => row.model === texture?.model)?.delta_from ?? BASE);
  return model && parent !== undefined ? { nodes: [model, parent], alpha: texture.alpha } : null;
}

/** Per block: ⟨W−B, δ_r⟩, ‖δ_r‖², ‖W−B‖² and Σ (w ‖δ‖)². */
function merge(data, method, read, grams, boost) {
  const { size, values } = grams;
  const zeros = () => data.blocks.map(() => new Float64Array(size));
  const sums = {
    dots: zeros(), norms2: zeros(),
    merged2: new Float64Array(data.blocks.length), asked2: new Float64Array(data.blocks.length),
  };
  const memos = projections(data, grams, method, read);
  for (let k = 0; k < data.keys; k += 1) {
    const gram = values.subarray(k * size * size, (k + 1) * size * size);
    const on = acting(read, gram, size, k);
    const rows = on.length ? tensorwise(data, read, gram, size, on, k) : null;
    const asked = rows ? askedWeights(method, rows) : [];
    const found = rows ? shares(method, rows, asked, memos[k]) : [[1, []]];
    for (const [share, part] of found) addShare(sums, data.blockOf[k], gram, size, on, share, part, boost);
    addAsked(sums, data.blockOf[k], gram, size, on, asked, boost);
  }
  return sums;
}

function acting(read, gram, size, k) {
  const on = [];
  for (let r = 0; r < read.length; r += 1) {
    if (read[r].active && read[r].weights[k] !== 0 && gram[r * size + r] > 0) on.push(r);
  }
  return on;
}

function tensorwise(data, read, gram, size, on, k) {
  const count = on.length;
  const inner = new Float64Array(count * count);
  const [alphas, repeats] = [new Float64Array(count), new Float64Array(count)];
  for (let i = 0; i < count; i += 1) {
    alphas[i] = read[on[i]].alpha * read[on[i]].weights[k];
    repeats[i] = read[on[i]].repeat;
    for (let j = 0; j < count; j += 1) inner[i * count + j] = gram[on[i] * size + on[j]];
  }
  return { size: count, gram: inner, alphas, repeats, spin: data.spin[k], side: data.side[k] };
}

function addShare(sums, block, gram, size, on, share, part, boost) {
  const weights = new Float64Array(size);
  for (let i = 0; i < on.length; i += 1) weights[on[i]] = part[i];
  if (boost) weights[size - 1] += boost.alpha;
  const dots = sums.dots[block];
  let energy = 0;
  for (let r = 0; r < size; r += 1) {
    let dot = 0;
    for (let s = 0; s < size; s += 1) dot += gram[r * size + s] * weights[s];
    dots[r] += share * dot;
    energy += weights[r] * dot;
  }
  sums.merged2[block] += share * Math.max(energy, 0);
}

function addAsked(sums, block, gram, size, on, asked, boost) {
  for (let r = 0; r < size; r += 1) sums.norms2[block][r] += gram[r * size + r];
  for (let i = 0; i < on.length; i += 1) sums.asked2[block] += asked[i] ** 2 * gram[on[i] * size + on[i]];
  if (boost) sums.asked2[block] += boost.alpha ** 2 * gram[size * size - 1];
}

/** What a projection solved per tensor, kept while the rows and which of them act stay the same. */
function projections(data, grams, method, read) {
  const id = [grams.id, method.options.variant, ...read.map((row) => (row.active ? row.zeros : ""))].join("|");
  if (data.bases?.id !== id) data.bases = { id, memos: Array.from({ length: data.keys }, () => ({})) };
  return data.bases.memos;
}

function rowFigures(row, r, read, grams, sums) {
  if (row.problem) return { norm: null, new_information: null, retention: null, problem: row.problem };
  const own = (s) => grams.total[s * grams.size + s];
  const kept = sums.dots.reduce((sum, dots) => sum + dots[r], 0);
  const news = read.flatMap((other, s) => {
    if (s === r || !other.active || !(own(s) > 0) || !(own(r) > 0)) return [];
    return [1 - Math.min(1, grams.total[r * grams.size + s] ** 2 / (own(r) * own(s)))];
  });
  return {
    norm: Math.sqrt(own(r)),
    new_information: news.length ? total(news) / news.length : null,
    retention: own(r) > 0 ? kept / own(r) : null,
    problem: "",
  };
}
