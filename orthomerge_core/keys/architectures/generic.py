"""Any architecture without a description: blocks and layer types by the usual key patterns."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="generic",
    label="unknown architecture",
    markers={},
    blocks=(
        r"^((?:\w+\.)*?(?:\w*blocks?|\w*layers?|\w*refiner|h|stages?|levels?)\.\d+)(?:\.|$)",
        r"^((?:\w+\.)*?[a-z_]*_block)\.",
        r"^((?:[A-Za-z_]\w*\.)+\d+)\.\w+\.",
    ),
    layer_types=(*TRANSFORMER, (r"(?:in|out)_layers\.", "convolution")),
    priority=-100,
)
