"""Which torch devices this machine has."""

from __future__ import annotations

import torch

from ..errors import OrthoMergeError

__all__ = ["usable_device"]


def usable_device(name: str | torch.device) -> torch.device:
    """The device of that name; `OrthoMergeError` where this machine has none."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "meta":
        what, fix = f'unknown device "{name}"', "Choose cpu or cuda."
        raise OrthoMergeError(what, fix=fix)
    if not _is_there(device):
        raise OrthoMergeError(
            f"no {device.type.upper()} device is available here", fix="Choose cpu."
        )
    return device


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        last = torch.cuda.device_count() if device.index is not None else 1
        return torch.cuda.is_available() and (device.index or 0) < last
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # torch was built without it
        return False
    return True
