"""Shape-annotated tensors: jaxtyping where it is installed, plain tensors elsewhere.

Axis legend: `models` and `rows` (of the table) count models; `params` is a flattened tensor; `m n`
are a matrix's rows and columns; `d` is its smaller side; `rank`, `blocks`, `keys` as they say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

__all__ = ["Float", "Float32", "Float64", "Int"]

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int
else:
    try:
        from jaxtyping import Float, Float32, Float64, Int
    except ImportError:

        class _Plain:
            """Stands in for a jaxtyping dtype: `Float[Tensor, "m n"]` is then just `Tensor`."""

            def __class_getitem__(cls, item: Any) -> type[torch.Tensor]:
                return item[0]

        Float = Float32 = Float64 = Int = _Plain
