"""Chunk sums: the CPU kernel, the device kernel and the fallback for old NumPy agree."""

import numpy as np
import pytest
import torch

from orthomerge_core.analysis import kernel
from orthomerge_core.analysis.device import device_sums
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


@pytest.mark.parametrize("count", [1, 2, 4, 12, 32])
@pytest.mark.parametrize("size", [1, 5000])
def test_both_kernels_agree_with_the_oracle(count, size):
    for sums in (kernel.chunk_sums, device_sums(torch.device("cpu"))):
        buffer = rows(count, size)
        check(sums(buffer.copy(), size), buffer, size)


def test_the_device_kernel_leaves_bad_chunks_to_the_cpu():
    buffer = rows(2, 100)
    buffer[1, 7] = np.inf
    found = device_sums(torch.device("cpu"))(buffer.copy(), 100)
    expected = kernel.chunk_sums(buffer.copy(), 100)
    np.testing.assert_array_equal(found.gram, expected.gram)
    np.testing.assert_array_equal(found.nonfinite, [0, 1, 0])


def test_bits_are_counted_alike_without_a_population_count(monkeypatch):
    deltas = rows(3, 4096)[1:]
    fast = kernel.sign_counts(deltas)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    slow = kernel.sign_counts(deltas)
    np.testing.assert_array_equal(fast, slow)


def test_a_base_alone_has_no_pairs():
    buffer = rows(0, 64)
    found = kernel.chunk_sums(buffer.copy(), 64)
    assert found.active.shape == (0, 0) and found.max_abs.shape == (0,)
    assert found.gram[0, 0] == pytest.approx(float((buffer[0, :64].astype(float) ** 2).sum()))
