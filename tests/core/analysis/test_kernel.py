"""Chunk sums: the CPU kernel, the device kernel and the fallback for old NumPy agree."""

import numpy as np
import pytest
import torch

from orthomerge_core.analysis import kernel
from orthomerge_core.analysis.compiled import CompiledKernel, compiled_kernel
from orthomerge_core.analysis.device_kernel import DeviceKernel
from orthomerge_core.analysis.signs import SignCounter
from tests.oracles import naive_gram, naive_sign_counts


def rows(count, size, seed=0):
    """A base and its models with many equal elements, in a padded buffer."""
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(size, generator=g).bfloat16()
    models = [base + 1e-3 * torch.randn(size, generator=g).bfloat16() for _ in range(count)]
    buffer = np.full((count + 1, kernel.padded(size)), np.nan, dtype=np.float32)
    buffer[:, :size] = torch.stack([base, *models]).float().numpy()
    return buffer


def check(found, buffer, size):
    flat = torch.from_numpy(buffer[:, :size].copy()).double()
    expected = [flat[0], *(flat[1:] - flat[0])]
    gram = naive_gram(expected)
    np.testing.assert_allclose(found.gram, gram, rtol=1e-5, atol=1e-7 * gram[0, 0])
    active, conflict = naive_sign_counts(expected[1:])
    np.testing.assert_array_equal(found.active, active)
    np.testing.assert_array_equal(found.conflict, conflict)
    np.testing.assert_allclose(found.max_abs, [float(d.abs().max()) for d in expected[1:]])
    assert not found.nonfinite.any()


def compiled(rows):
    found = compiled_kernel()
    assert found is not None, "numba belongs to what the tests install"
    return CompiledKernel(found, rows)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 12, 32])
@pytest.mark.parametrize("size", [1, 5000])
def test_all_kernels_agree_with_the_oracle(count, size):
    buffer = rows(count, size)
    for sums in (
        kernel.ChunkKernel(*buffer.shape),
        compiled(len(buffer)),
        DeviceKernel(torch.device("cpu")),
        kernel.exact_sums,
    ):
        check(sums(buffer.copy(), size), buffer, size)


def test_a_kernel_serves_fewer_rows_and_columns_than_it_was_made_for():
    buffer = rows(3, 9000)
    for sums in (kernel.ChunkKernel(*buffer.shape), compiled(len(buffer))):
        for count in (3, 2):
            check(sums(buffer[:count].copy(), 4000), buffer[:count], 4000)


def test_negative_zeros_and_tiny_numbers_are_counted_alike():
    buffer = np.zeros((3, 4096), dtype=np.float32)
    buffer[1, :4] = [-0.0, 1e-12, -1e-12, 1e-13]
    buffer[2, :4] = [1.0, -1e-12, -1.0, 1.0]
    both = [kernel.ChunkKernel(*buffer.shape), compiled(3)]
    one, other = (sums(buffer.copy(), 4096) for sums in both)
    np.testing.assert_array_equal(one.active, [[3, 3], [3, 4]])
    np.testing.assert_array_equal(one.conflict, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(one.active, other.active)
    np.testing.assert_array_equal(one.conflict, other.conflict)


@pytest.mark.parametrize("size", [1 << 12, 1 << 17])
def test_compiled_sums_keep_seven_digits_over_long_chunks(size):
    buffer = rows(4, size, seed=3)
    found = compiled(5)(buffer.copy(), size)
    flat = torch.from_numpy(buffer).double()
    expected = naive_gram([flat[0], *(flat[1:] - flat[0])])
    scale = np.sqrt(np.diag(expected))
    assert (np.abs(found.gram - expected) <= 3e-7 * scale * scale[:, None]).all()


@pytest.mark.parametrize(("name", "dtype"), [("BF16", torch.bfloat16), ("F16", torch.float16)])
@pytest.mark.parametrize("size", [1, 5000])
def test_stored_halves_are_widened_exactly(name, dtype, size):
    wide = torch.from_numpy(rows(5, size))
    halves = torch.randn(6, kernel.padded(size)).to(dtype)
    halves[:, :size] = wide[:, :size].to(dtype)
    halves[2, : size // 2] = torch.tensor(-0.0)
    halves[3, : size // 2] = torch.finfo(dtype).tiny / 4  # subnormal
    found = compiled_kernel(name)
    assert found is not None
    found = CompiledKernel(found, 6)(halves.view(torch.int16).numpy().view(np.uint16), size)
    check(found, halves.float().numpy(), size)


@pytest.mark.parametrize(("name", "dtype"), [("BF16", torch.bfloat16), ("F16", torch.float16)])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("row", [0, 1])
def test_stored_halves_that_are_not_finite_are_left_to_the_exact_kernel(name, dtype, bad, row):
    halves = torch.zeros(2, 4096, dtype=dtype)
    halves[row, 9] = bad
    found = compiled_kernel(name)
    assert found is not None
    assert CompiledKernel(found, 2)(halves.view(torch.int16).numpy().view(np.uint16), 4096) is None


def test_a_chunk_that_is_not_finite_or_too_small_is_left_to_the_exact_kernel_when_compiled():
    for bad in (np.inf, np.nan, 1e-30):
        buffer = np.zeros((2, 4096), dtype=np.float32)
        buffer[1, 7] = bad
        assert compiled(2)(buffer, 4096) is None


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("row", [0, 1])
def test_bad_chunks_are_left_to_the_exact_kernel(row, bad):
    buffer = rows(2, 100)
    buffer[row, 7] = bad
    assert kernel.ChunkKernel(*buffer.shape)(buffer.copy(), 100) is None
    assert DeviceKernel(torch.device("cpu"))(buffer.copy(), 100) is None
    found = kernel.exact_sums(buffer.copy(), 100)
    assert found.nonfinite.tolist() == [int(row == 0), int(row == 1), 0]
    assert np.isfinite(found.gram).all() and found.active[1, 1] <= 100 - (row == 0)


def test_a_chunk_longer_than_sixteen_bits_is_counted():
    deltas = np.ones((2, 1 << 17), dtype=np.float32)
    deltas[1, ::2] = -1
    active, conflict = SignCounter(*deltas.shape)(deltas)
    assert active.tolist() == [[1 << 17] * 2] * 2
    assert conflict.tolist() == [[0, 1 << 16], [1 << 16, 0]]


def test_bits_are_counted_alike_without_a_population_count(monkeypatch):
    deltas = rows(3, 4096)[1:]
    fast = SignCounter(*deltas.shape)(deltas)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    slow = SignCounter(*deltas.shape)(deltas)
    np.testing.assert_array_equal(fast, slow)


def test_a_base_alone_has_no_pairs():
    buffer = rows(0, 64)
    found = kernel.ChunkKernel(*buffer.shape)(buffer.copy(), 64)
    assert found is not None and found.active.shape == (0, 0) and found.max_abs.shape == (0,)
    assert found.gram[0, 0] == pytest.approx(float((buffer[0, :64].astype(float) ** 2).sum()))
