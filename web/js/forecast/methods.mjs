/** How a method is forecast: read from what the method states about itself (`Method.to_json`). Pure. */

/** The formulas this folder has; "nominal" merges every row's own delta with its weight in the table. */
export const FORMULAS = ["nominal", "projected", "rotated", "stock", "median", "spherical"];

/**
 * A method's options filled in, and what its forecast needs.
 * @param {string} name
 * @param {{averages?: boolean | [string, any], params?: {name: string, default: any}[],
 *   forecast?: {formula: string, exact: boolean, drop: string, spread: string} | null}} [stated]
 * foreseeable: whether distances tell its outcome here; averages: whether weights are divided by Σ r_i;
 * basis: what rows are merged along, their "own" deltas or those made orthogonal; tensorwise: the name
 * of an estimate that must see each tensor, or ""; noise: energy that dropping at random adds, as a
 * share of the nominal energy; gain: what keeping large changes more often adds to every weight.
 */
export function readMethod(name, stated = {}, options = {}) {
  /** @type {Record<string, any>} */
  const chosen = {
    ...Object.fromEntries((stated.params ?? []).map((param) => [param.name, param.default])),
    ...options,
  };
  const { formula = "", exact = false, drop = "", spread = "" } = stated.forecast ?? {};
  const averages = stated.averages ?? false;
  const dropped = drop ? chosen[drop] : 0;
  return {
    name,
    options: chosen,
    foreseeable: FORMULAS.includes(formula),
    exact,
    averages: Array.isArray(averages) ? chosen[averages[0]] === averages[1] : averages,
    basis: formula === "projected" ? chosen.variant : "own",
    tensorwise: ["nominal", "projected"].includes(formula) ? "" : formula,
    noise: dropped / (1 - dropped),
    gain: 1 + (spread ? chosen[spread] : 0) / (Math.PI * (1 - dropped)),
  };
}
