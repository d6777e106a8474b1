"""Inner products keep float64's digits where a forecast is compared with a measurement."""

import pytest
import torch

from orthomerge_core.linalg.gram import delta_gram, row_gram


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
