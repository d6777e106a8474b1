import pytest
import torch

from orthomerge_core.linalg.spectrum import (
    as_matrix,
    nearest_orthonormal,
    square_of_side,
    thin_svd,
)
from orthomerge_core.linalg.trim import largest, size_of_rank
from tests.oracles import naive_orthonormal, naive_trimmed


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7), (1, 4), (4, 1)])
def test_svd_agrees_with_lapack(shape):
    matrix = draw(*shape)
    left, values, right = thin_svd(matrix)
    assert values.tolist() == pytest.approx(torch.linalg.svdvals(matrix).tolist(), rel=1e-9)
    torch.testing.assert_close(left @ torch.diag(values) @ right, matrix)
    eye = torch.eye(len(values), dtype=torch.float64)
    torch.testing.assert_close(left.T @ left, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(right @ right.T, eye, rtol=0, atol=1e-9)


def test_directions_that_rounding_made_are_left_out():
    low = draw(8, 2) @ draw(2, 12, seed=1)
    assert len(thin_svd(low + 1e-9 * draw(8, 12, seed=2)).values) == 2
    assert len(thin_svd(torch.zeros(3, 4, dtype=torch.float64)).values) == 0


def test_nearest_orthonormal_agrees_with_the_svd_and_bears_dependent_columns():
    columns = draw(9, 4)
    torch.testing.assert_close(nearest_orthonormal(columns), naive_orthonormal(columns))
    one = draw(6, 1) * 3.0
    found = nearest_orthonormal(torch.cat([one, one, one], dim=1))
    torch.testing.assert_close(found, (one / one.norm() / 3**0.5).expand(6, 3))


def test_a_vector_is_one_row_and_a_kernel_one_row_per_output():
    assert as_matrix(torch.zeros(7)).shape == (1, 7)
    assert as_matrix(torch.tensor(1.0)).shape == (1, 1)
    assert as_matrix(torch.zeros(8, 4, 3, 3)).shape == (8, 36)
    shapes = [(8, 4, 3, 3), (30, 20), (7,), (), (0, 4)]
    assert [square_of_side(shape) for shape in shapes] == [64, 400, 1, 1, 0]


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 0.99, 1.0])
def test_the_largest_agree_with_sorting(density):
    delta = draw(9, 11).float()
    torch.testing.assert_close(largest(delta, density).double(), naive_trimmed(delta, density))


def test_equal_sizes_are_kept_together():
    assert largest(torch.tensor([1.0, -1.0, 1.0, 0.5]), 0.3).tolist() == [1.0, -1.0, 1.0, 0.0]
    sizes = torch.tensor([3.0, 1.0, 2.0])
    assert [float(size_of_rank(sizes, rank)) for rank in (-1, 1, 2, 3, 9)] == [1, 1, 2, 3, 3]
