"""Inner products keep float64's digits where a forecast is compared with a measurement."""

import pytest
import torch

from orthomerge_core.linalg.gram import CHUNK, chunked_gram, delta_gram, row_gram


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


def test_chunks_are_summed_as_a_stream_sums_them():
    deltas = list(torch.randn(3, CHUNK + 5000, generator=torch.Generator().manual_seed(3)))
    matrix = torch.stack(deltas)
    streamed = row_gram(matrix[:, :CHUNK]) + row_gram(matrix[:, CHUNK:])
    found = chunked_gram([delta.reshape(4, -1) for delta in deltas])
    assert torch.equal(found, streamed)
    exact = matrix.double() @ matrix.double().T
    assert float((found - exact).abs().max()) <= 1e-6 * float(exact.max())
    assert chunked_gram([]).shape == (0, 0)
    assert not torch.isfinite(chunked_gram([torch.full((4,), torch.inf)])).any()
