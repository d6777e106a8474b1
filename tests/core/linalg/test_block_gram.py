"""The same bits whoever sums them: in any pieces, beside any rows, compiled or not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orthomerge_core.linalg.block_gram import BITS, BlockGram, block_gram
from orthomerge_core.linalg.compiled import BLOCK, loops
from orthomerge_core.linalg.gram import CHUNK
from tests.oracles import naive_block_gram

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def drawn(count, size, seed=0, spread=0.0):
    """Rows whose blocks differ in size by powers of two up to 2^spread either way."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, size, generator=draw)
    return (
        rows
        * torch.exp2(spread * torch.randn(count, size // BLOCK + 1, generator=draw))
        .repeat(1, BLOCK)[:, :size]
        .contiguous()
    )


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 2500])
@pytest.mark.parametrize("spread", [0.0, 30.0])
def test_it_is_what_its_definition_says(size, spread):
    rows = drawn(3, size, size, spread)
    np.testing.assert_array_equal(block_gram(list(rows)).numpy(), naive_block_gram(rows))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (2, 40), elements=floats))
def test_of_any_numbers_too(values):
    found = block_gram(list(torch.from_numpy(values))).numpy()
    np.testing.assert_array_equal(found, naive_block_gram(values))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (2, 40), elements=floats))
def test_no_number_costs_more_than_the_docstring_says(values):
    """By Cauchy and Schwarz: each row is off by at most 2^−16 of its length."""
    found, wide = block_gram(list(torch.from_numpy(values))).numpy(), values.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    allowed = 2.01 * 2.0**-16 * np.outer(lengths, lengths) + 1e-300
    assert (np.abs(found - wide @ wide.T) <= allowed).all()


@pytest.mark.parametrize("count", [1, 2, 4, 7, 12])
def test_numbers_of_a_kind_cost_a_part_in_ten_million(count):
    rows = drawn(count, 70_001, count)
    wide = rows.double()
    lengths = wide.norm(dim=1)
    error = (block_gram(list(rows)) - wide @ wide.T).abs()
    assert (error <= 1e-7 * lengths[:, None] * lengths[None, :]).all()


def test_pieces_and_company_change_no_bit():
    rows = drawn(13, 300 * BLOCK + 77, spread=3.0)
    whole = block_gram(list(rows))
    assert torch.equal(whole, whole.T)
    for step in (BLOCK, 5 * BLOCK, CHUNK):
        gram = BlockGram(len(rows))
        for start in range(0, rows.shape[1], step):
            gram.add(rows[:, start : start + step])
        assert torch.equal(gram.total, whole), step
    picked = [7, 2, 11]
    assert torch.equal(block_gram([rows[i] for i in picked]), whole[picked][:, picked])
    assert torch.equal(block_gram([rows[3].view(-1, 1)]), whole[3:4, 3:4])


def test_what_is_equal_or_zero_is_so_exactly():
    rows = drawn(2, 5000)
    gram = block_gram([rows[0], rows[0].clone(), torch.zeros(5000), rows[1]])
    assert gram[0, 0] == gram[0, 1] == gram[1, 1] > 0
    assert (gram[2] == 0).all()
    tiny = torch.full((8,), 2.0**-149)  # the smallest number of float32 is not nothing
    assert float(block_gram([tiny])[0, 0]) == 8 * 2.0**-298


def test_what_is_not_finite_shows_in_its_row_only():
    rows = drawn(3, 3000)
    for bad in (torch.nan, torch.inf, -torch.inf):
        rows[1, 17] = bad
        found = torch.isfinite(block_gram(list(rows)))
        assert found.tolist() == [[True, False, True], [False] * 3, [True, False, True]]


def test_of_nothing():
    assert block_gram([]).shape == (0, 0)
    assert block_gram([torch.empty(0)]).tolist() == [[0.0]]
    empty = BlockGram(0)
    empty.add(torch.empty(0, 100))
    assert empty.total.shape == (0, 0)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12])
def test_compiled_code_has_the_same_bits(kind, count):
    found = loops()
    assert found is not None, "numba belongs to what the tests install"
    assert (found.BITS, found.BLOCK) == (BITS, BLOCK)
    dtype = (torch.bfloat16, torch.float16)[kind]
    columns, draw = 6 * BLOCK, torch.Generator().manual_seed(count)
    base = torch.randn(columns, generator=draw)
    stored = torch.stack(
        [base, *(base + 0.03 * torch.randn(columns, generator=draw) for _ in range(count))]
    ).to(dtype)
    stored[-1, : 2 * BLOCK] = stored[0, : 2 * BLOCK]  # a row that has nothing there
    if kind == 0:
        stored[-1, 3 * BLOCK] *= 2.0**100
        stored[:, 4 * BLOCK :] *= 2.0**-130  # below the normal numbers
    wide = np.empty((count + 2, BLOCK), dtype=np.float32)
    gram, powers = np.zeros((count, count)), np.ldexp(1.0, np.arange(-360, 361))
    places = (np.arange(count), np.full(count, -1), True)
    found.gram_halves(
        stored.view(torch.int16).numpy().view(np.uint16),
        kind,
        columns,
        (wide, wide.view(np.uint32)),
        (wide[1:], wide[1:].view(np.uint32)),
        np.empty((count, BLOCK)),
        places,
        powers,
        gram,
    )
    wanted = block_gram(list(stored[1:].float() - stored[0].float())).numpy()
    np.testing.assert_array_equal(gram, np.triu(wanted))
