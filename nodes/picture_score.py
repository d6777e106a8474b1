"""OrthoPictureScore: how alike two batches of pictures are, as numbers for a search."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..orthomerge_core.tune.pictures import agreement
from . import host
from .widgets import schema, ui_payload

__all__ = ["OrthoPictureScore"]


class OrthoPictureScore(io.ComfyNode):
    """Compares the merge's pictures with the base's, or with a fine-tune's."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Two batches of one size."""
        return schema(
            "OrthoPictureScore",
            display_name="Ortho Picture Score",
            description="Measures how alike pictures are: with a fine-tune's on its own prompt "
            "(agreement), or with the base's on another prompt (drift).",
            search_aliases=["ssim", "ms-ssim", "image similarity", "compare images", "score"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The merge's pictures."),
                io.Image.Input("reference", tooltip="What they are compared with."),
            ],
            outputs=[
                io.Float.Output(
                    display_name="agreement",
                    tooltip="Half structure at several scales, half color; 1 for equal pictures.",
                ),
                io.Float.Output(display_name="drift", tooltip="1 − agreement."),
            ],
        )

    @classmethod
    @host.guarded
    def execute(cls, images: torch.Tensor, reference: torch.Tensor) -> io.NodeOutput:
        """Compare picture by picture, and take the mean."""
        found = agreement(images, reference)
        payload = {"kind": "score", "text": f"agreement {found:.4f}, drift {1.0 - found:.4f}"}
        return io.NodeOutput(found, 1.0 - found, ui=ui_payload(payload))
