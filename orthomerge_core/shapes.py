"""Shape-annotated tensors: jaxtyping where it is installed, plain tensors elsewhere.

Axis legend: `models` and `rows` (of the table) count models; `params` is a flattened tensor; `m n`
are a matrix's rows and columns; `d` is its smaller side; `rank`, `blocks`, `keys` as they say;
`*shape` is any shape, the same wherever a signature names it, and `...` is any shape at all. The
tests check every one of them in `linalg` and `methods` (tests/conftest.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

__all__ = ["Float", "Float32", "Float64", "Int", "Shaped"]

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int, Shaped
else:
    try:
        from jaxtyping import Float, Float32, Float64, Int, Shaped
    except ImportError:

        class _Plain:
            """Stands in for a jaxtyping dtype: `Float[Tensor, "m n"]` is then just `Tensor`."""

            def __class_getitem__(cls, item: Any) -> type[torch.Tensor]:
                return item[0]

        Float = Float32 = Float64 = Int = Shaped = _Plain
