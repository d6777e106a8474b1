"""Stable Cascade, stages B and C: a U-Net of residual, time and attention blocks."""

from __future__ import annotations

from ..architecture import Architecture
from . import _components

ARCHITECTURE = Architecture(
    name="stable_cascade",
    label="Stable Cascade",
    modelspec="stable-cascade-v1-stage-c",
    markers={"clf.1.weight": None, "down_blocks.0.0.channelwise.0.weight": None},
    blocks=(
        r"(?:^|\.)((?:down|up)_blocks\.\d+\.\d+)\.",
        r"(?:^|\.)((?:down_downscalers|up_upscalers|up_repeat_mappers)\.\d+)\.",
    ),
    layer_types=(
        (r"\.(?:gamma|beta)$|norm", "norm"),
        (r"(?:^|\.)(?:mapper|mapper_sca|mapper_crp)\.", "modulation"),
        (r"attention\.|kv_mapper\.", "attention"),
        (r"channelwise\.", "mlp"),
        (r"depthwise\.|downscalers\.|upscalers\.|repeat_mappers\.", "convolution"),
        (r"^(?:clip_\w*mapper|effnet_mapper|pixels_mapper|embedding)\.", "embedding"),
        (r"^clf\.", "projection"),
    ),
    axes=(
        (r"depthwise\.weight$", (None, 1, None, None)),
        (r"channelwise\.\d+\.(?:gamma|beta)$", (1, 1, 1, None)),
        (
            r"^(?:(?:effnet|pixels)_mapper|embedding|clf|up_repeat_mappers\.\d+)\.\d+\.weight$"
            r"|^(?:down_downscalers|up_upscalers)\.\d+\.1\.blocks\.\d+\.weight$",
            (None, None, 1, 1),
        ),
    ),
    input_key="embedding.1.weight",
    components=_components.CASCADE,
)
