"""Ernie-Image: one stream with a modulation that all blocks share."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="ernie_image",
    label="Ernie-Image",
    markers={
        "layers.0.mlp.linear_fc2.weight": None,
        "layers.0.adaLN_sa_ln.weight": None,
        "text_proj.weight": None,
    },
    blocks=(r"^(layers\.\d+)\.",),
    layer_types=(
        (r"adaLN_\w+_ln\.", "norm"),
        (r"^final_norm\.linear\.", "modulation"),
        (r"^(?:text_proj|x_embedder|time_embedding)\.", "embedding"),
        *TRANSFORMER,
    ),
    axes=((r"^x_embedder\.proj\.weight$", (None, None, 1, 1)),),
    input_key="x_embedder.proj.weight",
)
