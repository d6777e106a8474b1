/**
 * The estimate for orthomerge, tensor by tensor, as `orthomerge_core/optimize/estimate.py`. Pure.
 *
 * A share of each delta's energy (`spin`) is taken for rotation and merged by direction and length as if
 * generators met as deltas do; the rest is averaged or added.
 */

/** Adds to `sums` what the rows give on every block. */
export function mergeRotations(data, method, read, grams, boost, sums) {
  const { size, values } = grams;
  const work = {
    size, boost, on: [], gram: null, own: new Float64Array(size), alphas: new Float64Array(size),
    asked: new Float64Array(size), turn: new Float64Array(size),
    kept: new Float64Array(size), turned: new Float64Array(size),
  };
  for (let k = 0; k < data.keys; k += 1) {
    work.gram = values.subarray(k * size * size, (k + 1) * size * size);
    readTensor(work, method, read, k);
    const rotates = work.on.length > 0 && data.side[k] > 0 && data.side[k] <= method.options.max_rotation_dim;
    const spin = rotates ? data.spin[k] : 0;
    times(work, work.asked, work.kept);
    if (spin > 0) findTurn(work, method.options, read);
    addTensor(sums, work, data.blockOf[k], spin);
  }
}

function readTensor(work, method, read, k) {
  const { size, gram, asked, alphas, own } = work;
  work.on.length = 0;
  asked.fill(0);
  let copies = 0;
  for (let r = 0; r < read.length; r += 1) {
    if (!read[r].active || read[r].weights[k] === 0 || !(gram[r * size + r] > 0)) continue;
    work.on.push(r);
    alphas[r] = read[r].alpha * read[r].weights[k];
    own[r] = Math.sqrt(gram[r * size + r]);
    copies += read[r].repeat;
  }
  work.copies = copies;
  for (const r of work.on) asked[r] = (alphas[r] * read[r].repeat) / (method.averages ? copies : 1);
}

/** out = G weights. */
function times({ size, gram, on }, weights, out) {
  for (let r = 0; r < size; r += 1) {
    let total = 0;
    for (let i = 0; i < on.length; i += 1) total += gram[r * size + on[i]] * weights[on[i]];
    out[r] = total;
  }
}

/** The rotational coefficients into `turn`, G · turn into `turned`: direction, length and cap. */
function findTurn(work, options, read) {
  const { on, alphas, own, turn, turned, asked, kept } = work;
  let [said, askedSum, askedWeight] = [0, 0, 0];
  turn.fill(0);
  for (const r of on) {
    const say = options.direction_weight === "equal" ? 1 : Math.abs(alphas[r]) * own[r];
    said += read[r].repeat * say;
    turn[r] = (read[r].repeat * say * Math.sign(alphas[r])) / own[r];
    askedSum += asked[r] * kept[r];
    askedWeight += (asked[r] / alphas[r]);
  }
  times(work, turn, turned);
  const length = Math.sqrt(Math.max(dot(on, turn, turned), 0));
  // `asked` is the plain mean, or a multiple of it where residuals are added up.
  const cap = Math.sqrt(on.length * Math.max(askedSum, 0)) / askedWeight;
  const wanted = Math.min(aggregate(work, options.theta_agg, read), cap);
  const scale = length <= 1e-12 * said ? 0 : wanted / length;
  for (let r = 0; r < turn.length; r += 1) {
    turn[r] *= scale;
    turned[r] *= scale;
  }
}

function dot(on, a, b) {
  let total = 0;
  for (let i = 0; i < on.length; i += 1) total += a[on[i]] * b[on[i]];
  return total;
}

function aggregate({ on, alphas, own, copies }, how, read) {
  let [total, largest] = [0, 0];
  for (const r of on) {
    const angle = Math.abs(alphas[r]) * own[r];
    total += angle * read[r].repeat;
    largest = Math.max(largest, angle);
  }
  if (how === "max") return largest;
  if (how !== "median") return how === "sum" ? total : total / copies;
  const all = on.flatMap((r) => Array(read[r].repeat).fill(Math.abs(alphas[r]) * own[r])).sort((a, b) => a - b);
  const middle = (all.length - 1) / 2;
  return (all[Math.floor(middle)] + all[Math.ceil(middle)]) / 2;
}

function addTensor(sums, work, block, spin) {
  const { size, gram, on, asked, kept, turn, turned, boost } = work;
  const last = size - 1;
  const extra = boost ? boost.alpha : 0;
  for (let r = 0; r < size; r += 1) {
    const mixed = spin > 0 ? (1 - spin) * kept[r] + spin * turned[r] : kept[r];
    sums.dots[block * size + r] += mixed + (extra && extra * gram[r * size + last]);
  }
  const boosted = extra && extra * extra * gram[last * size + last];
  const energy = dot(on, asked, kept) + (extra && 2 * extra * kept[last]) + boosted;
  let merged = (1 - spin) * Math.max(energy, 0);
  if (spin > 0) {
    merged += spin * Math.max(dot(on, turn, turned) + (extra && 2 * extra * turned[last]) + boosted, 0);
  }
  sums.merged2[block] += merged;
  for (const r of on) sums.asked2[block] += asked[r] * asked[r] * gram[r * size + r];
  sums.asked2[block] += boosted;
}
