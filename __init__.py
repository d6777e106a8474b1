"""OrthoMerge Studio: a ComfyUI node pack that analyzes and merges fine-tuned diffusion models."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """Called by ComfyUI (V3); nothing of ComfyUI is imported before."""
    from .nodes import Extension

    return Extension()
