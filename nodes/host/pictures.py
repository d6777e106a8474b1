"""Pictures that a node saves itself, with text in their header."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .files import metadata_allowed, output_target

__all__ = ["save_png"]


def save_png(pixels: np.ndarray, prefix: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Save uint8 [H, W, 3] below the output folder; the file as ComfyUI's `ui.images` names it.

    The file appears complete or not at all. `texts` become text chunks, unless metadata is off.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    path, shown = output_target(prefix, ".png")
    info = PngInfo()
    for name, text in texts.items() if metadata_allowed() else ():
        info.add_text(name, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    try:
        with partial.open("wb") as file:
            Image.fromarray(pixels).save(file, format="PNG", pnginfo=info, compress_level=4)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder, _, name = shown.rpartition("/")
    return {"filename": name, "subfolder": folder, "type": "output"}
