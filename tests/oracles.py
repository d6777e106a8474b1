"""Naive float64 versions of everything that is streamed, fused or approximated elsewhere."""

import numpy as np
import torch

# --- Merge methods: float64, one step per line of the formula -------------------------------------


def naive_task_arithmetic(base, deltas, alphas, repeats):
    terms = zip(deltas, alphas, repeats, strict=True)
    return base.double() + sum(r * a * d.double() for d, a, r in terms)


def naive_average(base, deltas, alphas, repeats):
    added = naive_task_arithmetic(base, deltas, alphas, repeats) - base.double()
    return base.double() + added / sum(repeats)


def naive_slerp(base, delta, t):
    b, m = base.double().flatten(), (base.double() + delta.double()).flatten()
    u, v = b / b.norm(), m / m.norm()
    omega = 2 * torch.asin(((u - v).norm() / 2).clamp(max=1))
    way = (torch.sin((1 - t) * omega) * u + torch.sin(t * omega) * v) / torch.sin(omega)
    return (way * ((1 - t) * b.norm() + t * m.norm())).reshape(base.shape)


def naive_sequential_projection(deltas):
    done = []
    for delta in deltas:
        rest = delta.double().flatten().clone()
        for other in done:
            rest -= (rest @ other) / (other @ other) * other
        done.append(rest)
    return [d.reshape(deltas[0].shape) for d in done]


def naive_symmetric_projection(deltas):
    columns = torch.stack([d.double().flatten() for d in deltas], dim=1)
    left, _, right = torch.linalg.svd(columns / columns.norm(dim=0), full_matrices=False)
    axes = left @ right  # nearest orthonormal set
    own = (axes * columns).sum(dim=0)
    return [(axes[:, i] * own[i]).reshape(deltas[0].shape) for i in range(len(deltas))]


def naive_dual_projection(deltas):
    columns = torch.stack([d.double().flatten() for d in deltas], dim=1)
    duals = torch.linalg.pinv(columns).T * columns.square().sum(dim=0)
    return [duals[:, i].reshape(deltas[0].shape) for i in range(len(deltas))]


def naive_train_difference(base, deltas, alphas, repeats, origins, gain=1.8):
    b = base.double()
    merged = b.clone()
    for delta, alpha, repeat, origin in zip(deltas, alphas, repeats, origins, strict=True):
        parent = b if origin is None else b + origin.double()
        model = parent + delta.double()
        for _ in range(repeat):
            away, trained = (model - merged).abs(), (model - parent).abs()
            share = torch.where(away + trained > 0, away / (away + trained), 0.0)
            merged = merged + alpha * gain * share * (model - parent)
    return merged


def naive_add_cosine(base, delta, alpha, *, whole):
    b, m = base.double(), base.double() + delta.double()
    similarity = torch.nn.functional.cosine_similarity(b, m, dim=0, eps=0.0)
    if whole:
        similarity = (similarity + (b * m).sum() / (b.norm() * m.norm())) / 2
    return b + (1 - (similarity - alpha).clamp(0, 1)) * (m - b)


def naive_sphere_mean(points, weights, steps):
    """On explicit vectors: the weighted mean direction, by `steps` of the mean of the arcs."""
    points = [p.double().flatten() for p in points]
    units = [p / p.norm() for p in points]
    mean = sum(w * u for u, w in zip(units, weights, strict=True))
    mean = mean / mean.norm()
    for _ in range(steps):
        arcs = []
        for unit in units:
            away = unit - (unit @ mean) * mean
            length = away.norm()
            arcs.append(torch.atan2(length, unit @ mean) * away / length if length > 0 else away)
        step = sum(w * arc for arc, w in zip(arcs, weights, strict=True))
        angle = step.norm()
        if angle < 1e-13:
            break
        mean = angle.cos() * mean + angle.sin() * step / angle
    return mean * sum(w * p.norm() for p, w in zip(points, weights, strict=True))


def naive_trimmed(delta, density):
    """All but the largest; how many go is rounded down, and equal sizes stay together."""
    sizes = sorted(delta.abs().flatten().tolist())
    least = sizes[max(int((1 - density) * len(sizes)), 1) - 1]
    return torch.where(delta.abs() >= least, delta, 0.0).double()


def naive_breadcrumbs(base, deltas, alphas, repeats, density, gamma):
    kept = []
    for delta in deltas:
        order = delta.abs().flatten().argsort()
        count = len(order)
        below, above = int((1 - density - gamma) * count), int(gamma * count)
        one = delta.double().flatten().clone()
        one[order[:below]] = 0.0
        one[order[count - above :]] = 0.0
        kept.append(one.reshape(delta.shape))
    return naive_task_arithmetic(base, kept, alphas, repeats)


def naive_sce(base, deltas, alphas, repeats, density):
    scaled = zip(deltas, alphas, repeats, strict=True)
    copies = torch.stack([a * d.double() for d, a, r in scaled for _ in range(r)])
    variance = copies.var(dim=0, unbiased=False)
    first = variance.flatten().sort(descending=True).values
    count = len(first) - int((1 - density) * len(first))
    copies = copies * (variance >= first[count - 1])
    energy = copies.flatten(1).square().sum(dim=1)
    sign = copies.sum(dim=0).sign()
    return base.double() + sum(
        e / energy.sum() * torch.where(c.sign() == sign, c, 0.0)
        for c, e in zip(copies, energy, strict=True)
    )


def naive_orthonormal(columns):
    left, values, right = torch.linalg.svd(columns, full_matrices=False)
    return left @ torch.diag((values > 3e-5 * values.max()).double()) @ right


def naive_tsv_m(base, deltas, alphas, repeats):
    parts = [torch.linalg.svd(d.double().flatten(1), full_matrices=False) for d in deltas]
    count = max(1, min(base.flatten(1).shape) // len(deltas))
    left = naive_orthonormal(torch.cat([u[:, :count] for u, _, _ in parts], dim=1))
    right = naive_orthonormal(torch.cat([v[:count] for _, _, v in parts]).T)
    values = [r * a * s[:count] for (_, s, _), a, r in zip(parts, alphas, repeats, strict=True)]
    return base.double() + (left @ torch.diag(torch.cat(values)) @ right.T).reshape(base.shape)


def naive_iso_c(base, deltas, alphas, repeats):
    total = naive_task_arithmetic(torch.zeros_like(base), deltas, alphas, repeats)
    left, values, right = torch.linalg.svd(total.flatten(1), full_matrices=False)
    return base.double() + (values.mean() * left @ right).reshape(base.shape)


def naive_svc(base, deltas, alphas, repeats, floor):
    own = [a * d.double().reshape(base.shape[0], -1) for d, a in zip(deltas, alphas, strict=True)]
    total = sum(r * d for d, r in zip(own, repeats, strict=True))
    left, values, right = torch.linalg.svd(total, full_matrices=False)
    change = torch.zeros_like(total)
    for k, value in enumerate(values):
        u = left[:, k]
        kept = [float((u @ total) @ (u @ d) / (u @ d).square().sum()) for d in own]
        counted = sum(r * max(floor, s) for s, r in zip(kept, repeats, strict=True))
        change += sum(repeats) / counted * value * torch.outer(u, right[k])
    return base.double() + change.reshape(base.shape)


def naive_masked_projection(base, deltas, alphas, repeats, density):
    kept = [naive_trimmed(d, density) for d in deltas]
    weights = [a * r for a, r in zip(alphas, repeats, strict=True)]
    sign = sum(w * d for d, w in zip(kept, weights, strict=True)).sign()
    masked = [
        torch.where((w * d).sign() == sign, d, 0.0) for d, w in zip(kept, weights, strict=True)
    ]
    return naive_task_arithmetic(base, naive_sequential_projection(masked), alphas, repeats)


def naive_rotations(base, deltas, damping, conflict_aware=False):
    """Steps 1 to 3 by SVD: the generators [d, d] and the rotations, on the smaller side."""
    w = base.double().flatten(1)
    flat = [d.double().flatten(1) for d in deltas]
    mean = sum(flat) / len(flat)
    if conflict_aware:
        flat = [d * ((d * mean).sum(1) < 0)[:, None] for d in flat]
    if w.shape[0] > w.shape[1]:
        w, flat = w.T, [d.T for d in flat]
    eye = torch.eye(len(w), dtype=torch.float64)
    shift = damping * torch.trace(w @ w.T) / len(w)
    generators, rotations = [], []
    for delta in flat:
        left, _, right = torch.linalg.svd((w + delta) @ w.T + shift * eye)
        flip = torch.ones(len(w), dtype=torch.float64)
        flip[-1] = torch.sign(torch.linalg.det(left @ right))
        rotation = (left * flip) @ right
        generators.append(torch.linalg.solve(rotation + eye, rotation - eye))
        rotations.append(rotation)
    return generators, rotations


def naive_orthomerge(
    base,
    deltas,
    alphas,
    repeats,
    theta_agg="mean",
    direction_weight="theta",
    residual_agg="mean",
    conflict_aware=False,
    damping=1e-3,
):
    """Steps 1 to 6 of the method, every residual and every copy of a repeat written out."""
    generators, rotations = naive_rotations(base, deltas, damping, conflict_aware)
    tall = base.flatten(1).shape[0] > base.flatten(1).shape[1]

    def side(tensor):
        matrix = tensor.double().flatten(1)
        return matrix.T if tall else matrix

    w, eye = side(base), torch.eye(len(generators[0]), dtype=torch.float64)
    copies = []
    for delta, alpha, repeat, a, r in zip(
        deltas, alphas, repeats, generators, rotations, strict=True
    ):
        weight = abs(alpha) * delta.double().norm()
        copies += [(alpha * a, weight, alpha * (w + side(delta) - r @ w))] * repeat
    thetas = torch.stack([a.norm() for a, _, _ in copies])
    direction = torch.zeros_like(eye)
    for (a, weight, _), theta in zip(copies, thetas, strict=True):
        say = {"theta": theta, "magnitude": weight, "equal": 1.0}[direction_weight]
        direction = direction + (say * a / theta if theta > 0 else 0)
    agg = {"mean": np.mean, "median": np.median, "max": np.max, "sum": np.sum}[theta_agg]
    plain = sum(a for a, _, _ in copies) / len(copies)
    length = min(float(agg(thetas.numpy())), len(deltas) ** 0.5 * float(plain.norm()))
    generator = direction / direction.norm() * length if direction.norm() > 1e-12 else 0 * eye
    residual = sum(rho for _, _, rho in copies) / (len(copies) if residual_agg == "mean" else 1)
    merged = torch.linalg.solve(eye - generator, eye + generator) @ w + residual
    return (merged.T if tall else merged).reshape(base.shape)


# --- Analysis: float64, one pair at a time --------------------------------------------------------


def naive_deltas(base, models):
    """Flat float64 [B, D_1 … D_N] of one tensor; a missing model (None) is a zero delta.

    Elements that are not finite, in the model or in the base, are zero.
    """
    b = base.double().flatten()
    rows = [torch.nan_to_num(b, nan=0.0, posinf=0.0, neginf=0.0)]
    for model in models:
        d = torch.zeros_like(b) if model is None else model.double().flatten() - b
        rows.append(torch.nan_to_num(d, nan=0.0, posinf=0.0, neginf=0.0))
    return rows


def naive_gram(rows):
    return np.array([[float((a * b).sum()) for b in rows] for a in rows])


def naive_block_gram(rows, block=1024, bits=21):
    """The definition of `BlockGram`, number by number, in Python's integers."""
    import math

    rows = [[float(x) for x in row] for row in rows]
    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, len(rows[0]), block):
        parts, tops = [row[start : start + block] for row in rows], []
        for part in parts:
            tops.append(math.frexp(max(abs(x) for x in part))[1])
        whole = [
            [round(math.ldexp(x, bits - top)) for x in part]
            for part, top in zip(parts, tops, strict=True)
        ]
        for i, a in enumerate(whole):
            for j, b in enumerate(whole):
                exact = sum(x * y for x, y in zip(a, b, strict=True))
                gram[i, j] += math.ldexp(exact, tops[i] + tops[j] - 2 * bits)
    return gram


def naive_sign_counts(deltas):
    active = [[int(((a != 0) & (b != 0)).sum()) for b in deltas] for a in deltas]
    conflict = [[int((a * b < 0).sum()) for b in deltas] for a in deltas]
    return np.array(active), np.array(conflict)


def naive_energies(delta):
    """σ² of a matrix by full SVD, descending."""
    return (torch.linalg.svdvals(delta.double()) ** 2).numpy()


# --- merging: whole models in float64, row by row -------------------------------------------------


def naive_row_deltas(base, models, row):
    """δ of a recipe row per float key, float64: the model minus its parent."""
    parent = base if row.delta_from == "base" else models[row.delta_from]
    return {
        k: models[row.model][k].double() - parent[k].double()
        for k, t in base.items()
        if t.is_floating_point()
    }


def naive_sum_of_rows(base, models, rows, *, mean=False):
    """B + Σ r α δ, divided by Σ r where `mean`; float64, no layers."""
    share = sum(row.repeat for row in rows) if mean else 1
    merged = {k: t.double().clone() for k, t in base.items() if t.is_floating_point()}
    for row in rows:
        for key, delta in naive_row_deltas(base, models, row).items():
            merged[key] += row.alpha * row.repeat * delta / share
    return merged


def naive_retention(base, merged, deltas):
    """⟨W − B, δ⟩ / ‖δ‖² over all keys, float64."""
    dot = sum(((merged[k] - base[k].double()) * d).sum() for k, d in deltas.items())
    return float(dot / sum((d * d).sum() for d in deltas.values()))


# --- optimizer: every assignment of parents, one at a time, on the models themselves --------------


def naive_orthogonality(models, parents):
    """Mean of 1 − cos² over pairs; models [N+1] vectors with the base first, parents of 1..N."""
    deltas = [models[i] - models[p] for i, p in enumerate(parents, 1)]
    overlaps = []
    for i in range(len(deltas)):
        for j in range(i):
            scale = np.linalg.norm(deltas[i]) * np.linalg.norm(deltas[j])
            overlaps.append((deltas[i] @ deltas[j] / scale) ** 2)
    return 1.0 - float(np.mean(overlaps)) if overlaps else 1.0


def naive_assignments(models, admissible_only=True):
    """All acyclic parents of 1..N as tuples; admissible: no farther than the base."""
    count = len(models) - 1

    def far(a, b):
        return float(np.linalg.norm(models[a] - models[b]))

    def reaches_base(parents, node):
        for _ in range(count):
            node = parents[node - 1] if node else 0
        return node == 0

    options = [
        [
            p
            for p in range(count + 1)
            if p != i and (p == 0 or not admissible_only or far(i, p) <= far(i, 0))
        ]
        for i in range(1, count + 1)
    ]
    every = [()]
    for choices in options:
        every = [(*some, p) for some in every for p in choices]
    return [p for p in every if all(reaches_base(p, i) for i in range(1, count + 1))]
