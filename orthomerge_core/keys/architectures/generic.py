"""Anything nobody has described yet: blocks and layer types by the usual key patterns."""

from __future__ import annotations

from ..architecture import Architecture
from ._layers import TRANSFORMER

ARCHITECTURE = Architecture(
    name="generic",
    label="unknown architecture",
    markers={},
    blocks=(
        r"(?:^|\.)((?:[a-z_]*blocks?|layers?|[a-z_]*_layers|h|stages?|levels?)\.\d+)(?:\.|$)",
        r"^([A-Za-z_]\w*\.\d+)\.",
    ),
    layer_types=TRANSFORMER,
    priority=-100,
)
