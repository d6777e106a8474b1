/**
 * What a table will keep of every model, from the optimizer's reduced figures alone. Pure.
 * The same as `orthomerge_core/forecast/forecast.py`; both run on `tests/fixtures/forecast.json`.
 *
 * @typedef {{norm: number | null, new_information: number | null, retention: number | null,
 *   problem: "" | "model" | "delta_from" | "layers"}} RowForecast
 * @typedef {{method: string, exact: boolean, norm: number | null, base_share: number | null,
 *   cancellation: number | null, rows: RowForecast[],
 *   blocks: {block: string, norm: number | null, cancellation: number | null, retention: (number | null)[]}[]}} Forecast
 */
import { decode, layerWeights, rowGrams } from "./data.mjs";
import { mergeLinear } from "./linear.mjs";
import { readMethod } from "./methods.mjs";
import { textAlphas } from "../table/text_alphas.mjs";
import { mergeTensorwise } from "./tensorwise.mjs";

const BASE = "base";

/**
 * @param {object} reduced `reduce_for_table`'s JSON; decoded once as long as it is the same object
 * @param {object[]} rows the table's rows, all of them
 * @param {{name: string} & object} method its name and what it states about itself, as the mixer's schema sends it
 * @param {object} [options] the method's options, as far as they differ from the defaults
 * @param {{model: string | null, alpha: number} | null} [texture] the texture boost
 * @returns {Forecast} exact: equal to what the merge measures; else an estimate, or all null where
 *   distances between models do not tell what the method does
 */
export function forecast(reduced, rows, method, options = {}, texture = null) {
  const chosen = readMethod(method.name, method, options);
  const data = decode(reduced);
  const read = rows.map((row) => readRow(data, row));
  const boost = readTexture(data, rows, texture);
  const grams = rowGrams(data, [...read.map((row) => row.nodes), ...(boost ? [boost.nodes] : [])]);
  const sums = merge(data, chosen, read, grams, boost);
  const merged2 = total(sums.merged2);
  const norm = Math.sqrt(merged2);
  return {
    method: method.name,
    exact: chosen.exact,
    norm: number(norm),
    base_share: data.baseEnergy > 0 ? number(norm / Math.sqrt(data.baseEnergy)) : null,
    cancellation: cancellation(merged2, total(sums.asked2)),
    rows: read.map((row, r) => rowFigures(row, r, read, grams, sums)),
    blocks: data.blocks.map((block, b) => ({
      block,
      norm: number(Math.sqrt(sums.merged2[b])),
      cancellation: cancellation(sums.merged2[b], sums.asked2[b]),
      retention: read.map((row, r) => (row.problem ? null : ratio(sums.dots, grams.blockNorms2, b * grams.size + r))),
    })),
  };
}

const total = (values) => values.reduce((sum, v) => sum + v, 0);
const number = (value) => (Number.isNaN(value) ? null : value);
const cancellation = (merged2, asked2) => (asked2 > 0 ? 1 - merged2 / asked2 : null);
const ratio = (dots, norms2, at) => (norms2[at] > 0 ? number(dots[at] / norms2[at]) : null);

function readRow(data, row) {
  const [model, parent] = [data.node.get(row.model), data.node.get(row.delta_from ?? BASE)];
  const layers = layerWeights(data, row.layers ?? "");
  const problem = (!model && "model") || (parent === undefined && "delta_from") || (!layers && "layers") || "";
  const [alpha, weights] = textWeights(data, row, layers);
  return {
    problem,
    alpha,
    weights,
    text: `${row.layers ?? ""}|${row.text ?? ""}|${row.text === undefined ? "" : row.alpha}`,
    repeat: row.repeat ?? 1,
    nodes: problem ? [0, 0] : [model, parent],
    active: !problem && (row.enabled ?? true) && alpha !== 0,
  };
}

/**
 * A row's alpha and its weights on tensors, those of text encoders in proportion to that alpha. Where the
 * row's own alpha is 0, text encoders alone act.
 */
function textWeights(data, row, layers) {
  const given = Number.isFinite(row.alpha ?? 1) ? (row.alpha ?? 1) : 0;
  if (row.text === undefined || row.text === null || !layers) return [given, layers];
  const [others, g] = textAlphas({ alpha: given, text: row.text });
  const alpha = given || others || g;
  const share = (key) =>
    (key.startsWith("text_encoder.") ? (key.startsWith("text_encoder.g.") ? g : others) : given) / (alpha || 1);
  return [alpha, Float64Array.from(layers, (weight, k) => weight * share(data.names[k]))];
}

function readTexture(data, rows, texture) {
  const model = texture?.alpha ? data.node.get(texture.model) : undefined;
  const parent = data.node.get(rows.find((row) => row.model === texture?.model)?.delta_from ?? BASE);
  return model && parent !== undefined ? { nodes: [model, parent], alpha: texture.alpha } : null;
}

/** Per block: ⟨W−B, δ_r⟩ [blocks, rows], ‖W−B‖² and Σ (w ‖δ‖)². */
function merge(data, method, read, grams, boost) {
  const blocks = data.blocks.length;
  const sums = {
    dots: new Float64Array(blocks * grams.size),
    merged2: new Float64Array(blocks),
    asked2: new Float64Array(blocks),
  };
  if (!method.foreseeable) for (const part of Object.values(sums)) part.fill(NaN);
  else (method.tensorwise ? mergeTensorwise : mergeLinear)(data, method, read, grams, boost, sums);
  return sums;
}

/** @returns {RowForecast} */
function rowFigures(row, r, read, grams, sums) {
  if (row.problem) return { norm: null, new_information: null, retention: null, problem: row.problem };
  const own = (s) => grams.total[s * grams.size + s];
  let kept = 0;
  for (let at = r; at < sums.dots.length; at += grams.size) kept += sums.dots[at];
  const news = read.flatMap((other, s) => {
    if (s === r || !other.active || !(own(s) > 0) || !(own(r) > 0)) return [];
    return [1 - Math.min(1, grams.total[r * grams.size + s] ** 2 / (own(r) * own(s)))];
  });
  return {
    norm: Math.sqrt(own(r)),
    new_information: news.length ? total(news) / news.length : null,
    retention: own(r) > 0 ? number(kept / own(r)) : null,
    problem: "",
  };
}
