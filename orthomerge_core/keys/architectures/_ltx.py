"""What LTX-Video and LTX-2 share: layer types and blocks."""

from __future__ import annotations

from ._layers import TRANSFORMER

BLOCKS = (
    r"^((?:audio|video)_embeddings_connector\.transformer_1d_blocks\.\d+)\.",
    r"^(transformer_blocks\.\d+)\.",
)

LAYERS = (
    (r"adaln_single\.|scale_shift_table", "modulation"),
    (r"(?:^|_)patchify_proj\.|(?:^|_)caption_projection\.", "embedding"),
    (r"learnable_registers$|keyframes_abs_pos_embedding$", "embedding"),
    (r"^(?:audio_)?proj_out\.", "projection"),
    *TRANSFORMER,
)
