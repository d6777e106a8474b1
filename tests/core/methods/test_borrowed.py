"""Methods whose arithmetic is sd-mecha's: by hand, so that a change over there is noticed here."""

import builtins
import itertools

import pytest
import torch

from orthomerge_core.errors import UnsupportedError
from orthomerge_core.methods.contract import Rows
from orthomerge_core.methods.registry import get_method
from orthomerge_core.methods.seeds import key_generator

pytest.importorskip("sd_mecha")


def run(name, base, deltas, alphas=None, repeats=None, key="k", seed=0, **options):
    rows = Rows(deltas, alphas or [1.0] * len(deltas), repeats or [1] * len(deltas))
    return get_method(name).merge(base, rows, options, key_generator(key, seed))


def draw(shape, rows, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g), [
        0.1 * torch.randn(shape, generator=g) for _ in range(rows)
    ]


def test_ties_by_hand():
    base = torch.zeros(4)
    a, b = torch.tensor([1.0, -2.0, 3.0, 0.0]), torch.tensor([2.0, 1.0, -1.0, 4.0])
    merged = run("ties", base, [a, b])
    assert merged.tolist() == [1.5, -2.0, 3.0, 4.0]
    twice = run("ties", base, [a, b], repeats=[1, 2])
    assert twice[0].item() == pytest.approx(5 / 3)


def test_ties_counts_heads_or_sizes():
    base = torch.zeros(1)
    deltas = [torch.tensor([-1.0]), torch.tensor([-1.0]), torch.tensor([5.0])]
    assert run("ties", base, deltas, vote_by_size=True).item() == 5.0
    assert run("ties", base, deltas, vote_by_size=False).item() == -1.0


def test_ties_trims_the_smallest():
    delta = torch.arange(1.0, 11.0)
    merged = run("ties", torch.zeros(10), [delta], density=0.3)
    assert merged[:6].count_nonzero() == 0
    assert torch.equal(merged[7:], delta[7:])


@pytest.mark.parametrize("name", ["dare", "della"])
def test_dropping_keeps_the_mean_and_scales_the_rest(name):
    base, delta = torch.zeros(200, 200), torch.ones(200, 200)
    options = {"spread": 0.0} if name == "della" else {}
    merged = run(name, base, [delta], [0.5], drop=0.75, **options)
    assert set(merged.unique().tolist()) == {0.0, 2.0}
    assert merged.mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["dare", "della"])
def test_masks_differ_between_keys_rows_and_seeds_only(name):
    base, (delta, _) = draw((40, 40), 2)
    first = run(name, base, [delta])
    assert torch.equal(first, run(name, base, [delta]))
    assert not torch.equal(first, run(name, base, [delta], key="other"))
    assert not torch.equal(first, run(name, base, [delta], seed=1))
    both = run(name, base, [delta, delta]) - base
    assert not torch.allclose(both, 2 * (first - base))


def test_della_drops_small_changes_more_often():
    delta = torch.linspace(0.001, 1.0, 40000)
    kept = run("della", torch.zeros(40000), [delta], drop=0.5, spread=0.8) != 0
    assert kept[:10000].float().mean() < 0.3
    assert kept[-10000:].float().mean() > 0.7


def test_no_drop_adds_everything():
    base, deltas = draw((10, 12), 2)
    expected = base + deltas[0] + deltas[1]
    for name, options in (("dare", {}), ("della", {"spread": 0.0})):
        merged = run(name, base, deltas, drop=0.0, **options)
        torch.testing.assert_close(merged, expected, rtol=0, atol=1e-6)


def test_model_stock_by_hand():
    base = torch.zeros(2, 2)
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    merged = run("model_stock", base, [a, b])
    torch.testing.assert_close(merged, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_model_stock_takes_a_kernel_for_one_row():
    base, (a, b) = draw((3, 4, 2, 2), 2)
    merged = run("model_stock", base, [a, b])
    flat = run("model_stock", base.flatten(1), [a.flatten(1), b.flatten(1)])
    torch.testing.assert_close(merged.flatten(1), flat)
    cos = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))
    mean = (a + b).flatten(1) / 2
    expected = (2 * cos / (1 + cos))[:, None].clamp(-1, 1) * mean
    torch.testing.assert_close((merged - base).flatten(1), expected)


def test_model_stock_stays_finite_at_its_pole():
    base = torch.zeros(1, 2)
    up, third = torch.tensor([[1.0, 0.0]]), torch.tensor([[-0.5, 0.75**0.5]])
    nearly = torch.tensor([[-0.5, -(0.75**0.5) * 1.001]])  # mean cosine close to -1/2: t of 1000s
    merged = run("model_stock", base, [up, third, nearly])
    mean = (up + third + nearly) / 3
    assert float(merged.norm()) <= float(mean.norm()) * (1 + 1e-6)


def test_the_geometric_median_ignores_an_outlier():
    base, (delta, _) = draw((8, 8), 2)
    near = [delta + 1e-4 * i for i in range(4)]
    merged = run("geometric_median", base, [*near, 100 * delta])
    assert float((merged - base - delta).abs().max()) < 1e-3


def test_the_geometric_median_is_the_least_total_distance():
    base, deltas = draw((5, 6), 3)
    found = run("geometric_median", base, deltas) - base

    def total(point):
        return sum(float((point - d).norm()) for d in deltas)

    steps = itertools.product((-1e-3, 1e-3), range(3))
    assert all(total(found) <= total(found + s * deltas[i]) + 1e-6 for s, i in steps)


def test_a_missing_sd_mecha_is_named_with_the_way_out(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("sd_mecha"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UnsupportedError, match="pip install sd-mecha"):
        run("ties", torch.zeros(2), [torch.ones(2)])
