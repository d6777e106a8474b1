/**
 * Estimates that must see each tensor, as `shares` in `orthomerge_core/methods`. Pure.
 *
 * The share `spin` of every delta's energy is merged with the coefficients `turn`, the rest with `asked`;
 * `kept` and `turned` are their products with the Gram.
 */
const MEDIAN_STEPS = 6;

/** Adds to `sums` what the rows give on every block. */
export function mergeTensorwise(data, method, read, grams, boost, sums) {
  const { size, values } = grams;
  const array = () => new Float64Array(size);
  const work = {
    size,
    boost,
    on: [],
    gram: null,
    copies: 0,
    spin: 0,
    own: array(),
    alphas: array(),
    repeats: array(),
    asked: array(),
    turn: array(),
    kept: array(),
    turned: array(),
    factor: 1,
  };
  const estimate = ESTIMATES[method.tensorwise];
  for (let k = 0; k < data.keys; k += 1) {
    work.gram = values.subarray(k * size * size, (k + 1) * size * size);
    readTensor(work, method, read, k);
    const asked2 = askedEnergy(work);
    times(work, work.asked, work.kept);
    work.spin = 0;
    if (work.on.length > 0) estimate(work, method.options, data, k);
    addTensor(sums, work, data.blockOf[k], asked2);
  }
}

function readTensor(work, method, read, k) {
  const { size, gram, asked, alphas, repeats, own } = work;
  work.on.length = 0;
  asked.fill(0);
  let copies = 0;
  for (let r = 0; r < read.length; r += 1) {
    if (!read[r].active || read[r].weights[k] === 0 || !(gram[r * size + r] > 0)) continue;
    work.on.push(r);
    alphas[r] = read[r].alpha * read[r].weights[k];
    repeats[r] = read[r].repeat;
    own[r] = Math.sqrt(gram[r * size + r]);
    copies += read[r].repeat;
  }
  work.copies = copies;
  work.factor = method.averages ? 1 : copies; // asked = factor · mean
  for (const r of work.on) asked[r] = (alphas[r] * repeats[r]) / (method.averages ? copies : 1);
}

/** out = G weights. */
function times({ size, gram, on }, weights, out) {
  if (on.length === size) {
    for (let r = 0, at = 0; r < size; r += 1) {
      let total = 0;
      for (let s = 0; s < size; s += 1, at += 1) total += gram[at] * weights[s];
      out[r] = total;
    }
    return;
  }
  for (let r = 0; r < size; r += 1) {
    let total = 0;
    for (let i = 0; i < on.length; i += 1) total += gram[r * size + on[i]] * weights[on[i]];
    out[r] = total;
  }
}

function dot(on, a, b) {
  let total = 0;
  for (let i = 0; i < on.length; i += 1) total += a[on[i]] * b[on[i]];
  return total;
}

function askedEnergy({ on, asked, gram, size }) {
  let total = 0;
  for (const r of on) total += asked[r] * asked[r] * gram[r * size + r];
  return total;
}

const ESTIMATES = { rotated, stock, median, spherical };

/** OrthoMerge: a share as a rotation by direction, length and cap, as if generators met as deltas do. */
function rotated(work, options, data, k) {
  if (!(data.side[k] > 0 && data.side[k] <= options.max_rotation_dim)) return;
  work.spin = data.spin[k];
  const { on, alphas, repeats, own, turn, turned } = work;
  let said = 0;
  turn.fill(0);
  for (const r of on) {
    const say = options.direction_weight === "equal" ? 1 : Math.abs(alphas[r]) * own[r];
    said += repeats[r] * say;
    turn[r] = (repeats[r] * say * Math.sign(alphas[r])) / own[r];
  }
  times(work, turn, turned);
  const length = Math.sqrt(Math.max(dot(on, turn, turned), 0));
  const cap = Math.sqrt(on.length * Math.max(dot(on, work.asked, work.kept), 0)) / work.factor;
  const wanted = Math.min(aggregate(work, options.theta_agg), cap);
  scale(turn, turned, length <= 1e-12 * said ? 0 : wanted / length);
}

function aggregate({ on, alphas, repeats, own, copies }, how) {
  let [total, largest] = [0, 0];
  for (const r of on) {
    const angle = Math.abs(alphas[r]) * own[r];
    total += angle * repeats[r];
    largest = Math.max(largest, angle);
  }
  if (how === "max") return largest;
  if (how !== "median") return how === "sum" ? total : total / copies;
  const all = on.flatMap((r) => Array(repeats[r]).fill(Math.abs(alphas[r]) * own[r])).sort((a, b) => a - b);
  const middle = (all.length - 1) / 2;
  return (all[Math.floor(middle)] + all[Math.ceil(middle)]) / 2;
}

/** Model Stock: t · mean with the tensor's own cosine of neighbouring copies. */
function stock(work) {
  const { on, alphas, repeats, own, gram, size, copies } = work;
  if (copies === 1) return;
  let total = 0;
  on.forEach((r, i) => {
    total += repeats[r] - 1;
    if (i === 0) return;
    const s = on[i - 1];
    total += (Math.sign(alphas[r] * alphas[s]) * gram[r * size + s]) / (own[r] * own[s]);
  });
  const cosine = total / (copies - 1);
  const below = 1 + (copies - 1) * cosine;
  scale(work.asked, work.kept, below !== 0 ? (copies * cosine) / below : 0);
}

/** Geometric median: Weiszfeld's iteration on coefficients, distances from the Gram. */
function median(work, options) {
  const { on, alphas, repeats, asked, kept, own } = work;
  for (let step = 0; step < Math.min(MEDIAN_STEPS, options.iterations); step += 1) {
    const energy = dot(on, asked, kept);
    let total = 0;
    for (const r of on) {
      const distance2 = (alphas[r] * own[r]) ** 2 - 2 * alphas[r] * kept[r] + energy;
      asked[r] = repeats[r] / Math.sqrt(Math.max(distance2, 1e-12));
      total += asked[r];
    }
    for (const r of on) asked[r] *= alphas[r] / total;
    times(work, asked, kept);
  }
}

/** MultiSLERP: one step of the mean direction of the α_i δ_i, at the mean of their lengths. */
function spherical(work) {
  const { on, alphas, repeats, own, copies, asked, kept, turn, turned } = work;
  // m = Σ r_i sign(α_i) δ_i/‖δ_i‖ / Σ r, as coefficients in `turn`
  turn.fill(0);
  let reach = 0;
  for (const r of on) {
    turn[r] = (repeats[r] * Math.sign(alphas[r])) / (copies * own[r]);
    reach += (repeats[r] * Math.abs(alphas[r]) * own[r]) / copies;
  }
  times(work, turn, turned);
  const size = Math.sqrt(Math.max(dot(on, turn, turned), 0));
  if (!(size > 1e-9)) return; // the directions cancel: the average
  scale(turn, turned, 1 / size);
  // t = Σ w_i θ_i/sin θ_i (u_i − cos θ_i m): the mean of the arcs from m to the u_i
  asked.fill(0);
  let back = 0;
  for (const r of on) {
    const along = (Math.sign(alphas[r]) * turned[r]) / own[r];
    const sine = Math.sqrt(Math.max(1 - along * along, 0));
    const weight = (repeats[r] / copies) * (sine > 0 ? Math.atan2(sine, along) / sine : 1);
    asked[r] = (weight * Math.sign(alphas[r])) / own[r];
    back += weight * along;
  }
  for (const r of on) asked[r] -= back * turn[r];
  times(work, asked, kept);
  const angle = Math.sqrt(Math.max(dot(on, asked, kept), 0));
  const [onMean, onStep] = angle > 1e-12 ? [Math.cos(angle), Math.sin(angle) / angle] : [1, 0];
  for (const r of on) asked[r] = reach * (onMean * turn[r] + onStep * asked[r]);
  times(work, asked, kept);
}

function scale(weights, product, factor) {
  for (let r = 0; r < weights.length; r += 1) {
    weights[r] *= factor;
    product[r] *= factor;
  }
}

function addTensor(sums, work, block, asked2) {
  const { size, gram, on, asked, kept, turn, turned, boost, spin } = work;
  const last = size - 1;
  const extra = boost ? boost.on(block) : 0;
  for (let r = 0; r < size; r += 1) {
    const mixed = spin > 0 ? (1 - spin) * kept[r] + spin * turned[r] : kept[r];
    sums.dots[block * size + r] += mixed + (extra && extra * gram[r * size + last]);
  }
  const boosted = extra && extra * extra * gram[last * size + last];
  const energy = dot(on, asked, kept) + (extra && 2 * extra * kept[last]) + boosted;
  sums.merged2[block] += (1 - spin) * Math.max(energy, 0);
  if (spin > 0) {
    const turning = dot(on, turn, turned) + (extra && 2 * extra * turned[last]) + boosted;
    sums.merged2[block] += spin * Math.max(turning, 0);
  }
  sums.asked2[block] += asked2 + boosted;
}
