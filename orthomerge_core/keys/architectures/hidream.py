"""HiDream I1 (Full, Dev, Fast and E1): double and single streams with experts."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="hidream",
    label="HiDream I1",
    modelspec="hidream-i1",
    markers={
        "caption_projection.0.linear.weight": None,
        "double_stream_blocks.0.block.attn1.to_q_t.weight": None,
        "x_embedder.proj.weight": None,
    },
    blocks=(r"^((?:double|single)_stream_blocks\.\d+)\.",),
    layer_types=(
        (r"^caption_projection\.", "embedding"),
        (r"(?:^|\.)ff_[it]\.", "mlp"),
        *TRANSFORMER,
    ),
    input_key="x_embedder.proj.weight",
)
