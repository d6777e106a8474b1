"""HiDream O1: pixels and text in one language model, with its vision tower."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="hidream_o1",
    label="HiDream O1",
    markers={
        "t_embedder1.mlp.0.weight": None,
        "x_embedder.proj1.weight": None,
        "language_model.layers.0.self_attn.q_proj.weight": None,
    },
    blocks=(r"^(visual\.blocks\.\d+)\.", r"^(language_model\.layers\.\d+)\."),
    layer_types=(
        (r"^language_model\.embed_tokens\.|^visual\.pos_embed\.|^[tx]_embedder", "embedding"),
        (r"^visual\.patch_embed\.", "embedding"),
        (r"^final_layer2\.linear\.", "projection"),
        (r"^visual\.merger\.linear", "projection"),
        *TRANSFORMER,
    ),
    input_key="x_embedder.proj1.weight",
)
