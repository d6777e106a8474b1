"""What a GGUF file of a diffusion model must be so that ComfyUI-GGUF loads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ...errors import CompatibilityError, OrthoMergeError, UnsupportedError, WriteError
from ...io.gguf import PLAIN_TYPES
from ...io.gguf_writer import MAX_NAME_BYTES
from ...io.quant.encoders import encoder_named
from ...io.quant.ggml import GgmlEncoder, require_gguf

__all__ = ["ggml_encoder", "gguf_architecture", "gguf_problems", "layout_problems", "plain_dtype"]

_NAMES = {
    "flux1": "flux",
    "flux2": "flux",
    "chroma": "flux",
    "sd15": "sd1",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "auraflow": "aura",
    "hidream": "hidream",
    "cosmos_predict2": "cosmos",
    "anima": "cosmos",
    "ltx_video": "ltxv",
    "ltx_2": "ltxv",
    "hunyuan_video": "hyvid",
    "hunyuan_video_15": "hyvid",
    "hunyuan_image": "hyvid",
    "wan": "wan",
    "lumina2": "lumina2",
    "z_image": "lumina2",
    "qwen_image": "qwen_image",
}

_SMALL = 1024
# parameters of modules that read their weight as it is
_BARE = re.compile(r"\.ff_i\.gate\.weight$|img_emb\.emb_pos|pos_embedder")


def ggml_encoder(output: str) -> GgmlEncoder | None:
    """The ggml type of an output dtype; None for dtypes of other formats."""
    encoder = encoder_named(output)
    return encoder if isinstance(encoder, GgmlEncoder) else None


def gguf_architecture(name: str) -> str | None:
    """`general.architecture` of one of our architectures; None where ComfyUI-GGUF has no word."""
    return _NAMES.get(name)


def gguf_problems(output: str, target: Path | None, layout: str) -> list[OrthoMergeError]:
    """What stands in the way of a GGUF file whatever the models hold."""
    if ggml_encoder(output) is None:
        return []
    problems: list[OrthoMergeError] = []
    try:
        require_gguf()
    except UnsupportedError as missing:
        problems.append(missing)
    if target is None:
        what = f"{output} is a kind of file, and this merge stays in memory"
        problems.append(UnsupportedError(what, fix="Save it, or choose another output dtype."))
    if layout == "checkpoint":
        what = f"{output} holds the diffusion model alone, not a checkpoint"
        problems.append(UnsupportedError(what, fix="Choose the layout diffusion."))
    return problems


def layout_problems(
    architecture: str, layout: Mapping[str, tuple[str, tuple[int, ...]]], packed: set[str]
) -> list[OrthoMergeError]:
    """What of a result ComfyUI-GGUF or the format itself does not take."""
    problems: list[OrthoMergeError] = []
    if gguf_architecture(architecture) is None:
        what = f"ComfyUI-GGUF has no name for the architecture {architecture}"
        fix = "Choose another output dtype, such as fp8_e4m3fn or int8_convrot."
        problems.append(CompatibilityError(what, expected=", ".join(sorted(_NAMES)), fix=fix))
    plain = set(PLAIN_TYPES.values())
    for name, (dtype, _) in layout.items():
        if name not in packed and dtype not in plain:
            what = f'GGUF has no type for the tensor "{name}"'
            fix = "Choose another output dtype."
            problems.append(UnsupportedError(what, received=dtype, fix=fix))
        if len(name.encode()) > MAX_NAME_BYTES:
            what = f'the name of the tensor "{name[:60]}…" is too long for GGUF'
            problems.append(WriteError(what, expected=f"at most {MAX_NAME_BYTES} bytes"))
    return problems[:8]


def plain_dtype(key: str, shape: tuple[int, ...]) -> str:
    """How a tensor is stored that stays unquantized.

    ComfyUI-GGUF's layers decode BF16 matrices; vectors, small tensors and parameters outside of
    layers are used as they are, so they are F32. Convolutions are F16, and F32 in three dimensions.
    """
    count = 1
    for size in shape:
        count *= size
    layer = key.endswith(".weight") and len(shape) in (2, 4)
    if not layer or count <= _SMALL or _BARE.search(key):
        return "F32"
    return "BF16" if len(shape) == 2 else "F16"
