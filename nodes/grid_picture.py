"""OrthoGridPicture: the images of a grid as one labeled picture that holds every recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..orthomerge_core.errors import RecipeError
from ..orthomerge_core.report.grid_picture import cell_caption, grid_picture
from . import host
from .cells import cell_report
from .widgets import picture, schema, ui_payload
from .wire import GridSocket, GridWire

__all__ = ["OrthoGridPicture"]


class OrthoGridPicture(io.ComfyNode):
    """Takes the whole list of images at once, and saves one PNG."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Images, their grid, and where the picture goes."""
        return schema(
            "OrthoGridPicture",
            display_name="Ortho Merge Grid Picture",
            description="Puts the images of a grid together with axis labels, and saves the recipe "
            "of every cell in the PNG.",
            search_aliases=["xyz plot", "xy plot", "image grid", "contact sheet"],
            is_input_list=True,
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                io.Image.Input("images", tooltip="One image per recipe of the grid."),
                GridSocket.Input("grid", tooltip="The grid that the recipes came from."),
                io.String.Input(
                    "filename_prefix",
                    default="OrthoMerge/grid",
                    optional=True,
                    tooltip="Below the output folder; a number is added.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The whole picture.")],
        )

    @classmethod
    @host.guarded
    def execute(
        cls,
        images: Sequence[torch.Tensor],
        grid: Sequence[GridWire],
        filename_prefix: Sequence[str] | str = "OrthoMerge/grid",
    ) -> io.NodeOutput:
        """Draw, save, and tell the browser what each cell is."""
        wire = grid[0]
        prefix = filename_prefix if isinstance(filename_prefix, str) else filename_prefix[0]
        reports = [cell_report(wire.group, number) for number in range(len(wire.grid.cells))]
        kept = [cell_caption(report.retention) if report else "" for report in reports]
        captions = {c.place: words for c, words in zip(wire.grid.cells, kept, strict=True) if words}
        shown = [_pixels(image) for image in images]
        if len({image.shape for image in shown}) > 1:
            raise RecipeError(
                "grid picture: the images have different sizes",
                fix="Give every cell a latent of the same size.",
            )
        drawn = grid_picture(wire.grid, shown, captions)
        facts = _told(wire, kept)
        texts = {"orthomerge.grid": json.dumps(facts, allow_nan=False)} | _workflow(cls.hidden)
        saved = host.save_png(drawn, prefix, texts)
        payload = {"kind": "grid", "text": f"{len(shown)} cells", **facts}
        return io.NodeOutput(picture(lambda: drawn), ui=ui_payload(payload, images=[saved]))


def _pixels(image: torch.Tensor) -> np.ndarray:
    """[B, H, W, C] in 0..1 → uint8 [H, B·W, 3]: a batch stands side by side."""
    rows = image.detach().cpu().clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8)
    return np.concatenate(list(rows[..., :3].numpy()), axis=1)


def _told(wire: GridWire, kept: Sequence[str]) -> dict[str, Any]:
    """The grid as JSON, with the words under each cell."""
    told = wire.grid.to_json()
    for cell, words in zip(told["cells"], kept, strict=True):
        cell["caption"] = words
    return told


def _workflow(hidden: Any) -> dict[str, str]:
    """Prompt and workflow as ComfyUI's own image nodes store them."""
    texts = {"prompt": json.dumps(hidden.prompt)} if hidden.prompt is not None else {}
    return texts | {name: json.dumps(value) for name, value in (hidden.extra_pnginfo or {}).items()}
