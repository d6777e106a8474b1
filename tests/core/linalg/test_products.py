"""Products by oneDNN and of half the work, against float64."""

import pytest
import torch

from orthomerge_core.linalg import products
from orthomerge_core.linalg.products import mirrored, product, product_t


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=["oneDNN", "none"])
def library(request, monkeypatch):
    if request.param == "none":
        monkeypatch.setattr(products, "_linear", lambda: None)
    return request.param


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("m", [3, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_of_views_and_thin_matrices(m, dtype):
    a, b = random(m, 280, dtype=dtype), random(280, 310, seed=1, dtype=dtype)
    exact = a.double() @ b.double()
    for left in (a, a.T.contiguous().T):
        for right in (b, b.T.contiguous().T):
            torch.testing.assert_close(product(left, right).double(), exact, rtol=0, atol=1e-4)
            found = product_t(left, right.T)
            assert found.dtype == dtype
            torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("d", [1, 2, 63, 65, 390])
def test_mirrored_products(d):
    x = random(d, d)
    skew = x - x.T
    torch.testing.assert_close(mirrored(x, x), x @ x.T, rtol=1e-4, atol=1e-3)
    cube = mirrored(skew @ skew, skew, sign=-1.0)
    exact = skew.double() @ skew.double() @ skew.double().T
    torch.testing.assert_close(cube.double(), exact, rtol=1e-4, atol=1e-5 * float(exact.norm()))


def test_this_build_is_tried_on_an_exact_case():
    found = products._linear()
    if found is not None:
        a = torch.arange(12.0).reshape(3, 4)
        assert torch.equal(found(a, a, None, "none", [], ""), a @ a.T)
