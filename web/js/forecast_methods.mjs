/** Which methods can be forecast, and how exactly, as `orthomerge_core/optimize/estimate.py`. Pure. */

const DEFAULTS = {
  orthogonal_projection: { variant: "sequential" },
  orthomerge: { theta_agg: "mean", direction_weight: "theta", residual_agg: "mean", max_rotation_dim: 4096 },
};
const ADDING = ["task_arithmetic", "orthogonal_projection", "slerp", "ties", "dare", "della"];
const AVERAGING = ["average", "model_stock", "geometric_median"];
const EXACT = ["task_arithmetic", "average", "orthogonal_projection"];

/**
 * A method by name with its options filled in; throws for a name without a forecast.
 * `basis` tells what its rows are merged along: "own" deltas, or those made orthogonal; `averages`
 * whether weights are divided by Σ r_i; `rotates` whether a share of each delta is merged as a rotation.
 */
export function readMethod(name, options = {}) {
  const rotates = name === "orthomerge";
  if (!rotates && !ADDING.includes(name) && !AVERAGING.includes(name)) {
    throw new Error(`no forecast for method "${name}"`);
  }
  const chosen = { ...DEFAULTS[name], ...options };
  return {
    name,
    options: chosen,
    rotates,
    averages: rotates ? chosen.residual_agg === "mean" : AVERAGING.includes(name),
    basis: chosen.variant ?? "own",
    exact: EXACT.includes(name),
  };
}
