"""Inner products keep float64's digits where a forecast is compared with a measurement."""

import pytest
import torch

from orthomerge_core.linalg.gram import delta_gram, last_products, row_gram


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 131072, 70001])
def test_both_agree_with_float64(size):
    draw = torch.Generator().manual_seed(size)
    rows = torch.randn(5, size + 3, generator=draw)[:, :size] * 1e-3  # with gaps between rows
    wide = rows.double()
    wanted = wide @ wide.T
    scale = wanted.diagonal().sqrt()
    for found, worst in ((row_gram(rows), 1e-6), (delta_gram(list(rows)), 1e-14)):
        assert found.dtype is torch.float64
        assert ((found - wanted).abs() <= worst * scale[:, None] * scale[None, :]).all()


def test_what_is_not_finite_shows():
    rows = torch.ones(2, 9000)
    rows[1, 17] = torch.nan
    assert torch.isfinite(row_gram(rows)).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("size", [1, 4096, 70001])
def test_products_with_the_last_row_are_those_of_the_gram(count, size):
    draw = torch.Generator().manual_seed(size)
    rows = torch.randn(count, size + 3, generator=draw)[:, :size] * 1e-3
    wanted = rows.double() @ rows[-1].double()
    scale = rows.double().norm(dim=1) * rows[-1].double().norm()
    found = last_products(rows)
    assert found.dtype is torch.float64
    assert ((found - wanted).abs() <= 1e-6 * scale).all()


def test_products_that_leave_float32_are_summed_in_float64():
    rows = torch.tensor([[3e38, 1e20], [1.0, 1e20], [2e38, 1.0]])
    wanted = rows.double() @ rows[-1].double()
    torch.testing.assert_close(last_products(rows), wanted, rtol=1e-12, atol=0)
    rows[0, 1] = torch.inf
    assert torch.isfinite(last_products(rows)).tolist() == [False, True, True]
