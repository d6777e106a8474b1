"""What every registered method owes; a new method is tested here without being named."""

import json

import numpy as np
import pytest
import torch

from orthomerge_core.errors import RecipeError
from orthomerge_core.linalg.block_gram import block_gram
from orthomerge_core.methods.contract import LinearMethod, Rows
from orthomerge_core.methods.forecast_rule import GramRows
from orthomerge_core.methods.registry import all_methods, get_method

METHODS = list(all_methods().values())
SHAPES = [(24, 24), (16, 40), (40, 16), (8, 4, 3, 3), (30,), (1,), (), (0,), (0, 4), (4, 0), (1, 5)]


def drops_at_random(method):
    return method.forecast is not None and bool(method.forecast.drop)


def chosen(rule):
    """Runs a test for every registered method that the rule holds for."""
    found = [m for m in METHODS if rule(m)]
    return pytest.mark.parametrize("method", found, ids=[m.name for m in found])


methods = chosen(lambda _: True)


def draw(shape, rows, seed=0, size=0.03):
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=g)
    return base, [size * torch.randn(shape, generator=g) for _ in range(rows)]


def run(method, base, deltas, alphas=None, repeats=None, seed=7, **options):
    rows = Rows(deltas, alphas or [1.0] * len(deltas), repeats or [1] * len(deltas))
    return method.merge(base, rows, options, torch.Generator().manual_seed(seed))


def rows_of(method, most=3):
    return min(method.max_rows or most, most)


@methods
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_dtype_finite_and_inputs_untouched(method, shape):
    base, deltas = draw(shape, rows_of(method))
    before = [t.clone() for t in (base, *deltas)]
    merged = run(method, base, deltas)
    assert merged.shape == base.shape
    assert merged.dtype == torch.float32
    assert bool(torch.isfinite(merged).all())
    assert all(torch.equal(a, b) for a, b in zip((base, *deltas), before, strict=True))
    if merged.numel():
        assert merged.data_ptr() not in {t.data_ptr() for t in (base, *deltas)}


@methods
def test_same_input_same_bytes(method):
    base, deltas = draw((24, 40), rows_of(method))
    assert torch.equal(run(method, base, deltas), run(method, base, deltas))


@chosen(lambda m: not drops_at_random(m) and m.neutral is not None)
@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16), (8, 4, 3, 3), (30,)], ids=str)
def test_one_row_at_full_strength_is_the_fine_tune(method, shape):
    base, deltas = draw(shape, 1)
    merged = run(method, base, deltas, **method.neutral)
    torch.testing.assert_close(merged, base + deltas[0], rtol=0, atol=1e-6)


@chosen(lambda m: m.continuous)
def test_small_alpha_tends_to_the_base(method):
    base, deltas = draw((24, 40), rows_of(method))
    merged = run(method, base, deltas, alphas=[1e-6] * len(deltas))
    torch.testing.assert_close(merged, base, rtol=0, atol=2e-6)


@chosen(lambda m: m.max_rows != 1 and not drops_at_random(m) and m.neutral is not None)
def test_two_equal_models_give_that_model_or_where_the_method_adds_twice_its_change(method):
    base, (delta,) = draw((24, 40), 1)
    change = (run(method, base, [delta, delta.clone()], **method.neutral) - base).double()
    factor = float((change * delta).sum() / delta.double().square().sum())
    assert float((change - factor * delta).norm() / delta.norm()) < 1e-3
    averages = method.averages_with(method.check_options({}))
    assert any(abs(factor - expected) < 1e-3 for expected in ((1,) if averages else (1, 2)))


def gram_rows(deltas, alphas, repeats):
    """What a forecast is given of a 24×40 tensor: a random delta's rotation is 24 / 80."""
    gram = block_gram(deltas).numpy()
    return GramRows(gram, np.array(alphas), np.array(repeats, dtype=np.float64), 0.3, 24)


@chosen(lambda m: m.forecast is not None)
@pytest.mark.parametrize("seed", range(3))
def test_the_forecast_is_what_the_merge_keeps(method, seed):
    count = rows_of(method)
    base, deltas = draw((24, 40), count, seed)
    for other in deltas[1:]:
        other.add_(deltas[0], alpha=0.3)
    alphas, repeats = [1.0, 0.5, 0.8][:count], [1, 2, 1][:count]
    options = method.check_options({})
    shares = method.shares(gram_rows(deltas, alphas, repeats), options)
    gram = block_gram(deltas).numpy()
    told = sum(part * (gram @ weights) for part, weights in shares) / np.diagonal(gram)
    merged = run(method, base, deltas, alphas, repeats)
    change = (merged.double() - base.double()).flatten()
    kept = [float(change @ d.double().flatten() / d.double().square().sum()) for d in deltas]
    allowed = 1e-5 if method.forecast.exact else 0.15
    assert kept == pytest.approx(told.tolist(), abs=allowed)


@methods
def test_what_a_method_states_is_json_and_names_its_own_options(method):
    stated = json.loads(json.dumps(method.to_json()))
    names = {param["name"] for param in stated["params"]}
    if isinstance(stated["averages"], list):
        assert stated["averages"][0] in names
    if stated["forecast"]:
        assert {stated["forecast"]["drop"], stated["forecast"]["spread"]} <= names | {""}


@chosen(lambda m: not m.order_matters and m.max_rows != 1)
@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (30,)], ids=str)
def test_row_order_does_not_matter_where_the_method_says_so(method, shape):
    base, deltas = draw(shape, 3)
    alphas, repeats = [1.0, 0.5, -0.7], [1, 2, 1]
    forward = run(method, base, deltas, alphas, repeats)
    back = run(method, base, deltas[::-1], alphas[::-1], repeats[::-1])
    torch.testing.assert_close(forward, back, rtol=0, atol=2e-5)


@methods
def test_unknown_option_names_itself_and_the_valid_ones(method):
    with pytest.raises(RecipeError, match=f'unknown option "alhpa" of method {method.name}'):
        method.check_options({"alhpa": 1})


@methods
def test_every_parameter_is_described_and_its_default_is_valid(method):
    assert method.label
    assert method.summary.endswith(".")
    assert all(p.help.endswith(".") and p.check(p.default) == p.default for p in method.params)
    assert method.flops((64, 64), 2) > 0


@pytest.mark.parametrize(
    "method", [m for m in METHODS if isinstance(m, LinearMethod)], ids=lambda m: m.name
)
def test_linear_methods_stream_in_chunks_to_the_same_bytes(method):
    base, deltas = draw((24, 40), 3)
    weights = method.coefficients(block_gram(deltas), [1.0, 0.5, -0.7], [1, 2, 1], {})
    out = torch.zeros(base.numel())
    for start in range(0, out.numel(), 100):
        for delta, weight in zip(deltas, weights.tolist(), strict=True):
            out[start : start + 100].add_(delta.flatten()[start : start + 100], alpha=weight)
        out[start : start + 100] += base.flatten()[start : start + 100]
    whole = run(method, base, deltas, [1.0, 0.5, -0.7], [1, 2, 1])
    assert torch.equal(out.view(base.shape), whole)


def test_unknown_method_suggests_the_near_one():
    with pytest.raises(RecipeError, match='Did you mean "orthomerge"'):
        get_method("orthomerg")
