from __future__ import annotations

import numpy as np
import pytest
import torch

from orthomerge_core.errors import RecipeError
from orthomerge_core.tune.pictures import agreement, color_agreement, structure_agreement


def photo(seed: int = 0, size: int = 96) -> torch.Tensor:
    """Smooth color fields with an edge and some noise, [1, size, size, 3]."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 6, 6, generator=generator)
    wide = torch.nn.functional.interpolate(small, size=(size, size), mode="bilinear")
    noise = 0.05 * torch.randn(1, 3, size, size, generator=generator)
    return (wide + noise).clamp(0, 1).movedim(1, -1)


def naive_structure(a: np.ndarray, b: np.ndarray) -> float:
    """The formula of the docstring, window by window in float64."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    place = np.arange(11) - 5
    line = np.exp(-(place**2) / 4.5)
    window = np.outer(line, line) / line.sum() ** 2
    a, b = (x @ np.array([0.299, 0.587, 0.114]) for x in (a, b))
    scales = sum(min(a.shape) // 2**s >= 11 for s in range(5))
    found = 1.0
    for scale in range(scales):
        values = []
        for y in range(a.shape[0] - 10):
            for x in range(a.shape[1] - 10):
                p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
                cov = (window * p * q).sum() - mp * mq
                value = (2 * cov + 0.03**2) / (vp + vq + 0.03**2)
                if scale == scales - 1:
                    value *= (2 * mp * mq + 0.01**2) / (mp**2 + mq**2 + 0.01**2)
                values.append(value)
        found *= max(np.mean(values), 0.0) ** (weights[scale] / weights[:scales].sum())
        a, b = (
            x[: len(x) // 2 * 2, : x.shape[1] // 2 * 2]
            .reshape(len(x) // 2, 2, x.shape[1] // 2, 2)
            .mean(axis=(1, 3))
            for x in (a, b)
        )
    return float(found)


def test_structure_is_its_formula():
    a = photo(0, 48)
    b = (0.7 * a + 0.3 * photo(1, 48)).clamp(0, 1)
    wanted = naive_structure(a[0].double().numpy(), b[0].double().numpy())
    assert structure_agreement(a, b) == pytest.approx(wanted, abs=1e-3)


def test_color_is_the_difference_of_eight_by_eight_fields():
    a, b = photo(0, 64), photo(1, 64)
    fields = [t[0].numpy().reshape(8, 8, 8, 8, 3).mean(axis=(1, 3)) for t in (a, b)]
    assert color_agreement(a, b) == pytest.approx(1 - np.abs(fields[0] - fields[1]).mean())


def test_equal_pictures_agree_whole_and_others_less_the_more_they_differ():
    a, b = photo(0), photo(1)
    assert agreement(a, a) == pytest.approx(1.0, abs=1e-5)
    steps = [agreement(a, a + t * (b - a)) for t in (0.2, 0.5, 1.0)]
    assert 1.0 > steps[0] > steps[1] > steps[2] > 0.0
    assert agreement(a, b) == pytest.approx(agreement(b, a))


def test_a_batch_is_compared_picture_by_picture_and_one_with_all():
    a, b = photo(0), photo(1)
    both = torch.cat([a, b])
    assert agreement(both, both) == pytest.approx(1.0, abs=1e-5)
    mean = (agreement(a, a) + agreement(b, a)) / 2
    assert agreement(both, a) == pytest.approx(mean, abs=1e-5)


def test_tiny_pictures_have_one_scale():
    a = photo(0, 8)
    assert agreement(a, a) == pytest.approx(1.0, abs=1e-5)


def test_other_sizes_are_named():
    with pytest.raises(RecipeError, match="pictures to compare have different sizes"):
        agreement(photo(0, 64), photo(0, 32))
    with pytest.raises(RecipeError, match=r"received \(2, 96, 96\)"):
        agreement(photo(0).expand(3, -1, -1, -1), photo(0).expand(2, -1, -1, -1))
