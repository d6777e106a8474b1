"""New information: the share of one delta that another does not hold. Range [0, 1]; 1 all of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["new_information"]


def new_information(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 − cos², elementwise, from cosines of any shape."""
    return 1.0 - cosines**2
