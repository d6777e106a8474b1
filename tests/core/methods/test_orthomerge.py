import itertools

import pytest
import torch

from orthomerge_core.linalg.lie import cayley_change
from orthomerge_core.methods._rotations import weighted_sums
from orthomerge_core.methods.contract import Rows
from orthomerge_core.methods.registry import get_method
from tests.oracles import naive_orthomerge, naive_rotations

METHOD = get_method("orthomerge")


def family(shape, rows=3, size=0.02, seed=0):
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=g)
    return base, [size * torch.randn(shape, generator=g) for _ in range(rows)]


def merge(base, deltas, alphas=None, repeats=None, **options):
    rows = Rows(deltas, alphas or [1.0] * len(deltas), repeats or [1] * len(deltas))
    return METHOD.merge(base, rows, options, torch.Generator())


def distance(merged, expected, base):
    """‖W − W*‖ / ‖W* − B‖."""
    change = expected - base.double()
    return float((merged.double() - expected).norm() / change.norm())


@pytest.mark.parametrize(
    "shape",
    [(48, 48), (40, 96), (96, 40), (16, 400), (400, 16), (24, 12, 3, 3), (64, 8, 1, 1), (2, 2)],
)
@pytest.mark.parametrize("size", [0.001, 0.02, 0.1])
def test_agrees_with_float64_on_every_shape(shape, size):
    base, deltas = family(shape, size=size)
    expected = naive_orthomerge(base, deltas, [1.0, 0.6, -0.4], [1, 2, 1])
    merged = merge(base, deltas, [1.0, 0.6, -0.4], [1, 2, 1])
    assert distance(merged, expected, base) < 1e-3


@pytest.mark.parametrize(
    ("agg", "weight"),
    list(itertools.product(("mean", "median", "max", "sum"), ("theta", "magnitude", "equal"))),
)
def test_every_aggregation_and_direction_does_what_it_says(agg, weight):
    base, deltas = family((32, 40))
    deltas[1] = deltas[1] * 3
    deltas.append(0.5 * deltas[0] + deltas[2])
    options = {"theta_agg": agg, "direction_weight": weight}
    alphas, repeats = [1.0, 0.7, 1.2, -0.5], [1, 1, 3, 1]
    expected = naive_orthomerge(base, deltas, alphas, repeats, **options)
    assert distance(merge(base, deltas, alphas, repeats, **options), expected, base) < 1e-3


@pytest.mark.parametrize("residual", ["mean", "sum"])
@pytest.mark.parametrize("conflict", [False, True])
@pytest.mark.parametrize("shape", [(40, 48), (60, 30)])
def test_conflict_targets_and_residuals(residual, conflict, shape):
    base, deltas = family(shape)
    deltas[2] = deltas[2] - 0.8 * deltas[0]
    options = {"residual_agg": residual, "conflict_aware": conflict}
    expected = naive_orthomerge(base, deltas, [1.0, 0.5, 0.8], [1, 2, 1], **options)
    merged = merge(base, deltas, [1.0, 0.5, 0.8], [1, 2, 1], **options)
    assert distance(merged, expected, base) < 1e-3


def test_the_parts_serve_every_alpha_repeat_and_weighting():
    base, deltas = family((40, 48))
    parts = METHOD.decompose(base, deltas, {})
    kept = {name: part.clone() for name, part in parts.items()}
    for alphas, repeats, options in (
        ([0.3, 1.0, 2.0], [1, 1, 1], {}),
        ([1.0, -1.0, 0.5], [3, 1, 2], {"theta_agg": "sum", "direction_weight": "equal"}),
    ):
        rows = Rows(deltas, alphas, repeats)
        again = METHOD.compose(base, rows, parts, options)
        assert torch.equal(again, merge(base, deltas, alphas, repeats, **options))
    assert all(torch.equal(parts[name], part) for name, part in kept.items())


def test_only_the_listed_options_change_the_parts():
    base, deltas = family((24, 32))
    first = METHOD.decompose(base, deltas, {})
    for param in METHOD.params:
        other = {"choice": param.choices[-1:], "flag": (not param.default,)}.get(param.kind)
        value = other[0] if other else {"damping": 0.1, "max_rotation_dim": 2}[param.name]
        parts = METHOD.decompose(base, deltas, {param.name: value})
        same = parts.keys() == first.keys() and all(torch.equal(parts[k], first[k]) for k in first)
        assert same == (param.name not in METHOD.decompose_params), param.name


def test_one_row_is_the_fine_tune_and_less_of_it_at_less_alpha():
    base, deltas = family((32, 40), rows=1)
    assert torch.equal(merge(base, deltas), base + deltas[0])
    for alpha in (0.5, -1.0, 2.5):
        expected = naive_orthomerge(base, deltas, [alpha], [1])
        assert distance(merge(base, deltas, [alpha]), expected, base) < 1e-3


def test_one_row_opposes_no_mean_so_nothing_of_it_turns():
    base, deltas = family((32, 40), rows=1)
    parts = METHOD.decompose(base, deltas, {"conflict_aware": True})
    assert "packed.0" in parts and float(parts["gram"]) == 0.0  # not by the costly exact way
    merged = merge(base, deltas, [0.5], conflict_aware=True)
    torch.testing.assert_close(merged, base + 0.5 * deltas[0])


@pytest.mark.parametrize("size", [0.6, 3.0, 30.0])
def test_huge_deltas_agree_with_float64(size):
    base, deltas = family((24, 32), size=size)
    expected = naive_orthomerge(base, deltas, [1.0, 0.5, 1.0], [1, 1, 2])
    assert distance(merge(base, deltas, [1.0, 0.5, 1.0], [1, 1, 2]), expected, base) < 1e-3


@pytest.mark.parametrize("short_of_half_turn", [0.5, 0.05, 0.005])
def test_an_eigenvalue_near_minus_one_agrees_with_float64(short_of_half_turn):
    base, deltas = family((24, 30))
    plane = torch.linalg.svd(base.double())[0][:, :2]
    angle = torch.tensor(torch.pi - short_of_half_turn, dtype=torch.float64)
    cos, sin = torch.cos(angle) - 1.0, torch.sin(angle)
    turn = plane @ torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])]) @ plane.T
    deltas[0] = (turn @ base.double()).float()
    generators, _ = naive_rotations(base, deltas, 1e-3)
    assert float(generators[0].norm()) > 2.0 / short_of_half_turn
    expected = naive_orthomerge(base, deltas, [1.0] * 3, [1] * 3)
    assert distance(merge(base, deltas), expected, base) < 1e-3


@pytest.mark.parametrize("damping", [0.0, 1e-3])
def test_a_reflection_is_merged_by_the_nearest_rotation(damping):
    base, deltas = family((16, 20))
    axis = torch.linalg.svd(base)[0][:, -1:]
    deltas[0] = -2.0 * axis @ (axis.T @ base)  # the weakest direction changes its sign
    assert torch.linalg.det((base + deltas[0]) @ base.T) < 0
    _, rotations = naive_rotations(base, deltas, damping)
    assert float(torch.linalg.det(rotations[0])) == pytest.approx(1.0)
    expected = naive_orthomerge(base, deltas, [1.0] * 3, [1] * 3, damping=damping)
    assert distance(merge(base, deltas, damping=damping), expected, base) < 1e-3


@pytest.mark.parametrize("size", [0.005, 0.02, 0.2, 2.0])
def test_what_is_kept_of_a_row_is_a_rotation(size):
    """A row alone with its residual taken out: W − ρ = R W0 with RᵀR = I and det R = +1."""
    base, deltas = family((24, 24), rows=1, size=size)
    base = base + 4 * torch.eye(24)
    row = Rows(deltas, [1.0], [1])
    parts = METHOD.decompose(base, deltas, {})
    turn = torch.ones(1, dtype=torch.float64)
    generator, change = weighted_sums(parts, turn, turn, base.device)
    rotation = change.double() + torch.eye(24, dtype=torch.float64)
    assert float((rotation.T @ rotation - torch.eye(24)).norm()) < 10 * size * 1e-2
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-2)
    exact = cayley_change(generator.double())
    torch.testing.assert_close(exact, change.double(), rtol=0.02, atol=0.02 * size)
    assert torch.equal(METHOD.compose(base, row, parts, {}), base + deltas[0])


@pytest.mark.parametrize("alpha", [1.0, 3.0, 5.0])
def test_alphas_at_the_edge_of_their_range(alpha):
    base, deltas = family((40, 48), size=0.05)
    expected = naive_orthomerge(base, deltas, [alpha, -alpha, alpha], [3, 1, 2])
    assert distance(merge(base, deltas, [alpha, -alpha, alpha], [3, 1, 2]), expected, base) < 1e-3


@pytest.mark.parametrize(
    ("decay", "size", "kind", "dtype"),
    [
        (0.0, 0.02, "packed", torch.int16),
        (0.5, 0.02, "packed", torch.int16),
        (0.7, 0.03, "generator", torch.int16),
        (1.0, 0.05, "generator", None),
    ],
)
def test_a_base_with_few_strong_and_many_weak_directions(decay, size, kind, dtype):
    base, deltas = family((128, 128), size=size)
    left, _, right = torch.linalg.svd(base)
    base = left @ torch.diag(torch.arange(1.0, 129.0) ** -decay) @ right
    base *= 128 / base.norm()
    parts = METHOD.decompose(base, deltas, {})
    assert dtype in (None, parts[f"{kind}.1"].dtype)
    expected = naive_orthomerge(base, deltas, [1.0, 0.5, 0.7], [1, 1, 1])
    assert distance(merge(base, deltas, [1.0, 0.5, 0.7]), expected, base) < 1e-3
    aligned = base * torch.logspace(0, -3, 128)[:, None]  # weak rows, not only directions
    tuned = [aligned + d * torch.logspace(0, -3, 128)[:, None] for d in deltas]
    deltas = [t - aligned for t in tuned]
    expected = naive_orthomerge(aligned, deltas, [1.0, 0.5, 0.7], [1, 1, 1])
    assert distance(merge(aligned, deltas, [1.0, 0.5, 0.7]), expected, aligned) < 1e-3


def test_large_deltas_and_no_damping_take_the_exact_path():
    base, deltas = family((32, 32), size=0.6)
    parts = METHOD.decompose(base, deltas, {})
    assert {f"generator.{i}" for i in range(3)} <= parts.keys()
    for damping in (1e-3, 0.0):
        expected = naive_orthomerge(base, deltas, [1.0] * 3, [1] * 3, damping=damping)
        assert distance(merge(base, deltas, damping=damping), expected, base) < 1e-3


def test_a_row_near_a_half_turn_stays_finite_and_bounded():
    base, deltas = family((24, 24))
    deltas[0] = -2.0 * base
    merged = merge(base, deltas)
    assert bool(torch.isfinite(merged).all())
    alone = merge(base, deltas[:1])
    assert torch.equal(alone, base + deltas[0])


def test_cancelling_generators_turn_nothing_instead_of_everything():
    base, (delta,) = family((32, 40), rows=1, size=0.01)
    skew = delta @ base.T
    delta = 0.001 * (skew - skew.T) @ base
    merged = merge(base, [delta, -delta])
    assert float((merged - base).norm()) < 0.05 * float(delta.norm())
    nearly = merge(base, [delta, -0.999 * delta])
    assert float((nearly - base).norm()) < 0.05 * float(delta.norm())


def test_nearly_cancelling_rows_keep_their_digits_and_are_capped():
    base, deltas = family((40, 40), rows=2)
    deltas[1] = 0.01 * deltas[1] - deltas[0]
    expected = naive_orthomerge(base, deltas, [1.0, 1.0], [1, 1])
    assert distance(merge(base, deltas), expected, base) < 1e-3
    generators, _ = naive_rotations(base, deltas, 1e-3)
    mean = sum(generators).norm() / 2
    assert float(sum(a.norm() for a in generators) / 2) > 10 * float(mean)  # the cap is at work


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (torch.zeros(16, 16), "zero or rank-deficient"),
        (torch.ones(16, 20), "zero or rank-deficient"),
        (torch.cat([torch.zeros(1, 20), torch.eye(15, 20)]), "zero or rank-deficient"),
        (torch.eye(12, 20)[[0, *range(11)]], "zero or rank-deficient"),
        (torch.randn(20, 6) @ torch.eye(6, 30), "zero or rank-deficient"),
        (torch.randn(16), "they are not matrices"),
        (torch.randn(16, 1), "they are not matrices"),
        (torch.tensor(2.0), "they are not matrices"),
        (torch.randn(30, 40), "above max_rotation_dim"),
    ],
    ids=[
        "zero",
        "rank one",
        "zero row",
        "equal rows",
        "low rank",
        "vector",
        "column",
        "scalar",
        "long",
    ],
)
def test_what_cannot_be_rotated_is_averaged_and_says_why(base, reason):
    deltas = [torch.full(base.shape, 0.1), torch.full(base.shape, 0.3)]
    options = {"max_rotation_dim": 24, "residual_agg": "sum"}
    parts = METHOD.decompose(base, deltas, options)
    assert reason in METHOD.plain_reason(parts)
    merged = merge(base, deltas, [1.0, 0.5], [1, 3], **options)
    torch.testing.assert_close(merged, base + (0.1 + 3 * 0.15) / 4)


def test_zero_rows_of_a_delta_are_fine():
    base, deltas = family((24, 30))
    deltas[0][3:9] = 0
    deltas[1][:, 2] = 0
    expected = naive_orthomerge(base, deltas, [1.0] * 3, [1] * 3)
    assert distance(merge(base, deltas), expected, base) < 1e-3


def test_damping_tames_the_runaway_rotation():
    """The undamped scheme lets a near-empty direction spin: one huge generator rules the merge."""
    g = torch.Generator().manual_seed(3)
    base = torch.randn(96, 96, generator=g, dtype=torch.float64)
    deltas = [0.02 * torch.randn(96, 96, generator=g, dtype=torch.float64) for _ in range(3)]
    left, values, right = torch.linalg.svd(base)
    values[-1] = 2e-4  # two directions so weak that the delta overturns them
    values[-2] = 3e-4
    base = left @ torch.diag(values) @ right
    plane = left[:, -2:] @ torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    deltas[0] = deltas[0] + 0.2 * plane @ right[-2:] - 0.2 * left[:, -2:] @ right[-2:]
    angles = {}
    for damping in (0.0, 1e-3):
        generators, _ = naive_rotations(base, deltas, damping)
        angles[damping] = [float(a.norm()) for a in generators]
        expected = naive_orthomerge(base, deltas, [1.0] * 3, [1] * 3, damping=damping)
        merged = merge(base.float(), [d.float() for d in deltas], damping=damping)
        assert distance(merged, expected, base) < 1e-3
    assert max(angles[0.0]) > 4 * sorted(angles[0.0])[1]
    assert max(angles[1e-3]) < 2 * min(angles[1e-3])
