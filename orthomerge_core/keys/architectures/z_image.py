"""Z-Image and Z-Image Turbo: a wider Lumina 2 with padding tokens and a narrow modulation."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from ._layers import TRANSFORMER
from .lumina2 import BLOCKS

_BLOCK = r"^((?:noise_refiner|context_refiner|layers)\.\d+)\."

_DIFFUSERS = DiffusersMap(
    marker=r"^all_x_embedder\.\d+-\d+\.weight$",
    renames=(
        (r"^all_x_embedder\.2-1\.", "x_embedder."),
        (r"^all_final_layer\.2-1\.", "final_layer."),
        (rf"{_BLOCK}attention\.to_out\.0\.", r"\1.attention.out."),
        (rf"{_BLOCK}attention\.norm_([qk])\.", r"\1.attention.\2_norm."),
    ),
    joins={
        r"\1.attention.qkv.\2": [rf"{_BLOCK}attention\.to_{x}\.(weight|bias)$" for x in "qkv"],
    },
    note="only patch size 2 is translated, the one that every released model has",
)

ARCHITECTURE = Architecture(
    name="z_image",
    label="Z-Image",
    modelspec="z-image",
    markers={
        "cap_embedder.1.weight": None,
        "layers.0.attention.qkv.weight": None,
        "layers.0.adaLN_modulation.0.weight": None,
    },
    absent=("siglip_embedder.0.weight", "dec_net.cond_embed.weight"),
    blocks=BLOCKS,
    layer_types=TRANSFORMER,
    diffusers=_DIFFUSERS,
    axes=((r"_pad_token$", (1, None)),),
    input_key="x_embedder.weight",
)
