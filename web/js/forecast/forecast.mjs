/**
 * What a table will keep of every model, from the optimizer's reduced figures alone. Pure.
 * The same as `orthomerge_core/forecast/forecast.py`; both run on `tests/fixtures/forecast.json`.
 *
 * @typedef {{norm: number | null, new_information: number | null, retention: number | null,
 *   problem: "" | "model" | "delta_from" | "layers"}} RowForecast
 * @typedef {{method: string, exact: boolean, norm: number | null, base_share: number | null,
 *   cancellation: number | null, rows: RowForecast[],
 *   blocks: {block: string, norm: number | null, cancellation: number | null, retention: (number | null)[]}[],
 *   components: {component: string, norm: number | null, base_share: number | null, cancellation: number | null,
 *     retention: (number | null)[]}[]}} Forecast
 */
import { componentOf, decode, layerWeights, rowGrams } from "./data.mjs";
import { mergeLinear } from "./linear.mjs";
import { readMethod } from "./methods.mjs";
import { textAlphas } from "../table/text_alphas.mjs";
import { mergeTensorwise } from "./tensorwise.mjs";

const BASE = "base";
const DIFFUSION = "diffusion";
const VAE = "vae";

/**
 * @param {object} reduced `reduce_for_table`'s JSON; decoded once as long as it is the same object
 * @param {object[]} rows the table's rows, all of them
 * @param {{name: string} & object} method its name and what it states about itself, as the mixer's schema sends it
 * @param {object} [options] the method's options, as far as they differ from the defaults
 * @param {{model: string | null, alpha: number} | null} [texture] the texture boost
 * @param {string} [vae] where the VAE comes from; merged only where it is "merge"
 * @returns {Forecast} exact: equal to what the merge measures; else an estimate, or all null where
 *   distances between models do not tell what the method does. Totals are the diffusion model's.
 */
export function forecast(reduced, rows, method, options = {}, texture = null, vae = BASE) {
  const chosen = readMethod(method.name, method, options);
  const data = decode(reduced);
  const read = rows.map((row) => readRow(data, row, vae !== "merge" && data.parts.includes(VAE)));
  const boost = readTexture(data, rows, texture, vae === "merge");
  const grams = rowGrams(data, [...read.map((row) => row.nodes), ...(boost ? [boost.nodes] : [])]);
  const sums = merge(data, chosen, read, grams, boost);
  const components = data.parts.map((part) => componentFigures(data, part, read, grams, sums));
  const whole = components.find(({ component }) => component === DIFFUSION);
  return {
    method: method.name,
    exact: chosen.exact,
    norm: whole?.norm ?? (whole ? null : 0),
    base_share: whole?.base_share ?? null,
    cancellation: whole?.cancellation ?? null,
    rows: read.map((row, r) => rowFigures(row, r, read, grams, whole)),
    blocks: data.blocks.map((block, b) => ({
      block,
      norm: number(Math.sqrt(sums.merged2[b])),
      cancellation: cancellation(sums.merged2[b], sums.asked2[b]),
      retention: read.map((row, r) => (row.problem ? null : ratio(sums.dots, grams.blockNorms2, b * grams.size + r))),
    })),
    components,
  };
}

/** One component by itself: sums over its blocks. */
function componentFigures(data, component, read, grams, sums) {
  const { size, blockNorms2 } = grams;
  const blocks = data.partOf.flatMap((part, b) => (part === component ? [b] : []));
  const over = (values) => total(blocks.map((b) => values[b]));
  const ofRow = (values, r) => total(blocks.map((b) => values[b * size + r]));
  const [merged2, base2] = [over(sums.merged2), data.baseEnergies.get(component)];
  return {
    component,
    norm: number(Math.sqrt(merged2)),
    base_share: base2 > 0 ? number(Math.sqrt(merged2) / Math.sqrt(base2)) : null,
    cancellation: cancellation(merged2, over(sums.asked2)),
    retention: read.map((row, r) => {
      const own = ofRow(blockNorms2, r);
      return !row.problem && own > 0 ? number(ofRow(sums.dots, r) / own) : null;
    }),
  };
}

const total = (values) => values.reduce((sum, v) => sum + v, 0);
const number = (value) => (Number.isNaN(value) ? null : value);
const cancellation = (merged2, asked2) => (asked2 > 0 ? 1 - merged2 / asked2 : null);
const ratio = (dots, norms2, at) => (norms2[at] > 0 ? number(dots[at] / norms2[at]) : null);

function readRow(data, row, keepsVae) {
  const [model, parent] = [data.node.get(row.model), data.node.get(row.delta_from ?? BASE)];
  const layers = layerWeights(data, row.layers ?? "");
  const problem = (!model && "model") || (parent === undefined && "delta_from") || (!layers && "layers") || "";
  const [alpha, asked] = textWeights(data, row, layers);
  const weights = keepsVae && asked ? asked.map((w, k) => (data.partOf[data.blockOf[k]] === VAE ? 0 : w)) : asked;
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
  const share = (key) => {
    const part = componentOf(key);
    if (!part.startsWith("text_encoder.")) return given / (alpha || 1);
    return (part === "text_encoder.g" ? g : others) / (alpha || 1);
  };
  return [alpha, Float64Array.from(layers, (weight, k) => weight * share(data.names[k]))];
}

function readTexture(data, rows, texture, mergesVae) {
  const model = texture?.alpha ? data.node.get(texture.model) : undefined;
  const parent = data.node.get(rows.find((row) => row.model === texture?.model)?.delta_from ?? BASE);
  if (!model || parent === undefined) return null;
  const on = (block) => (mergesVae || data.partOf[block] !== VAE ? texture.alpha : 0);
  return { nodes: [model, parent], on };
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
function rowFigures(row, r, read, grams, whole) {
  if (row.problem) return { norm: null, new_information: null, retention: null, problem: row.problem };
  const own = (s) => grams.total[s * grams.size + s];
  const news = read.flatMap((other, s) => {
    if (s === r || !other.active || !(own(s) > 0) || !(own(r) > 0)) return [];
    return [1 - Math.min(1, grams.total[r * grams.size + s] ** 2 / (own(r) * own(s)))];
  });
  return {
    norm: Math.sqrt(own(r)),
    new_information: news.length ? total(news) / news.length : null,
    retention: whole?.retention[r] ?? null,
    problem: "",
  };
}
