"""OmniGen2: Lumina 2's layers in diffusers names, with reference pictures beside the noise."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="omnigen2",
    label="OmniGen2",
    modelspec="omnigen-2",
    markers={
        "ref_image_patch_embedder.weight": None,
        "time_caption_embed.timestep_embedder.linear_1.weight": None,
        "layers.0.attn.to_q.weight": None,
    },
    absent=("double_stream_layers.0.img_instruct_attn.processor.img_to_q.weight",),
    blocks=(r"^((?:noise_refiner|ref_image_refiner|context_refiner|layers)\.\d+)\.",),
    layer_types=(
        (r"\.norm1\.linear\.|^norm_out\.linear_1\.", "modulation"),
        (r"^norm_out\.linear_2\.", "projection"),
        (r"caption_embedder\.0\.", "norm"),
        (r"^image_index_embedding$", "embedding"),
        *TRANSFORMER,
    ),
    input_key="x_embedder.weight",
)
