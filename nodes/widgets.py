"""Small helpers for schemas: what every supported release of ComfyUI understands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from math import floor, isfinite, log10
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..orthomerge_core.params import Param
from . import host

__all__ = [
    "CATEGORY",
    "device_input",
    "dry_run_input",
    "extended",
    "param_input",
    "picture",
    "schema",
    "ui_payload",
]

logger = logging.getLogger(__name__)

CATEGORY = "OrthoMerge"


def schema(
    node_id: str, display_name: str, *, searchable_name: str = "", **fields_: Any
) -> io.Schema:
    """An `io.Schema` in our category; fields that this release does not know are left out.

    searchable_name: takes the place of `display_name` in releases without `search_aliases`, where
    the node search looks at names alone. Their search finds a word only if it begins among the
    first 30 characters.
    """
    known = {field.name for field in fields(io.Schema)}
    if searchable_name and "search_aliases" not in known:
        display_name = searchable_name
    chosen = {
        "category": CATEGORY,
        "display_name": display_name,
        "essentials_category": CATEGORY,
        **fields_,
    }
    return io.Schema(node_id=node_id, **{k: v for k, v in chosen.items() if k in known})


def extended(widget: Any, **extra: Any) -> Any:
    """The same input with more keys in its options, as the browser gets them.

    The typed inputs of the oldest supported release take no `extra_dict`, nor `advanced`.
    """
    original = widget.as_dict
    widget.as_dict = lambda: original() | extra
    return widget


def device_input() -> Any:
    """Where a merge runs; the same for the merge that is looked at and the one that is stored."""
    return io.Combo.Input(
        "device",
        options=list(host.DEVICES),
        default="auto",
        optional=True,
        tooltip="Where the maths runs. auto: the GPU that ComfyUI uses, else the CPU.",
    )


def dry_run_input() -> Any:
    """Everything of a merge but the merge; the same switch for looking and for storing."""
    return io.Boolean.Input(
        "dry_run",
        default=False,
        optional=True,
        tooltip="Check everything and estimate memory, disk and time; merge nothing. What follows "
        "this node waits.",
    )


def param_input(param: Param, **extra: Any) -> Any:
    """The widget of a core parameter: kind, default, range and help come from the core."""
    common = {"default": param.default, "tooltip": param.help, "optional": True}
    if param.kind == "choice":
        widget = io.Combo.Input(param.name, options=list(param.choices), **common)
    elif param.kind == "flag":
        widget = io.Boolean.Input(param.name, **common)
    elif param.kind == "integer":
        widget = io.Int.Input(
            param.name, **{k: int(v) for k, v in _bounds(param).items()}, **common
        )
    else:
        widget = io.Float.Input(
            param.name, step=_step(param), round=False, **_bounds(param), **common
        )
    return extended(widget, **extra) if extra else widget


def _bounds(param: Param) -> dict[str, float]:
    """Both ends of the range; the core's numbers all have them."""
    if param.minimum is None or param.maximum is None:
        raise ValueError(f"{param.name} has no range")
    return {"min": param.minimum, "max": param.maximum}


def _step(param: Param) -> float:
    """A power of ten: about a hundred steps over the range, and fine enough to show the default."""
    low, high = _bounds(param).values()
    coarse = floor(log10((high - low) / 100.0))
    shown = floor(log10(abs(param.default))) if param.default else coarse
    return 10.0 ** min(coarse, shown)


def picture(draw: Callable[[], np.ndarray]) -> torch.Tensor:
    """uint8 [H, W, 3] → IMAGE, float32 [1, H, W, 3] in 0..1; a gray square without matplotlib."""
    try:
        pixels = draw()
    except ImportError as error:
        logger.warning("OrthoMerge draws no pictures: %s. pip install matplotlib", error)
        pixels = np.full((64, 64, 3), 128, dtype=np.uint8)
    return torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(255.0).unsqueeze(0)


def ui_payload(payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The `ui` of a node: our payload for the browser, and what else ComfyUI shows.

    Numbers that JSON cannot hold become null: one of them would make the whole of /history
    unreadable.
    """
    return {**more, "orthomerge": [_as_json(payload)]}


def _as_json(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value
