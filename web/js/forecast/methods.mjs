/** Which methods can be forecast, and how, as `orthomerge_core/forecast/estimate.py`. Pure. */

const METHODS = {
  task_arithmetic: { exact: true },
  average: { exact: true, averages: true },
  orthogonal_projection: { exact: true, options: { variant: "sequential" } },
  slerp: {},
  dare: { options: { drop: 0.5 } },
  della: { options: { drop: 0.5, spread: 0.2 } },
  model_stock: { averages: true, tensorwise: "stock" },
  geometric_median: { averages: true, tensorwise: "median", options: { iterations: 100 } },
  orthomerge: {
    tensorwise: "rotate",
    options: { theta_agg: "mean", direction_weight: "theta", residual_agg: "mean", max_rotation_dim: 4096 },
  },
};

/**
 * A method by name with its options filled in.
 * foreseeable: whether distances tell its outcome; averages: whether weights are divided by Σ r_i;
 * basis: what rows are merged along, their "own" deltas or those made orthogonal; tensorwise: the name
 * of an estimate that must see each tensor, or ""; noise: energy that dropping at random adds, as a
 * share of what is asked; gain: what keeping large changes more often adds to every weight.
 */
export function readMethod(name, options = {}) {
  const known = METHODS[name];
  const chosen = { ...known?.options, ...options };
  const { drop = 0, spread = 0 } = known?.options ? chosen : {};
  return {
    name,
    options: chosen,
    foreseeable: known !== undefined,
    exact: known?.exact ?? false,
    averages: name === "orthomerge" ? chosen.residual_agg === "mean" : (known?.averages ?? false),
    basis: chosen.variant ?? "own",
    tensorwise: known?.tensorwise ?? "",
    noise: drop / (1 - drop),
    gain: 1 + spread / (Math.PI * (1 - drop)),
  };
}
