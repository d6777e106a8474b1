import itertools

import pytest
import torch

from orthomerge_core.methods.contract import Rows
from orthomerge_core.methods.registry import get_method
from tests.oracles import naive_orthomerge

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


@pytest.mark.parametrize("shape", [(48, 48), (40, 96), (96, 40), (24, 12, 3, 3), (64, 8, 1, 1)])
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
