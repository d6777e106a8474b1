"""The choices that a set leaves open, for the browser: components, VAE and prediction."""

from __future__ import annotations

from typing import Any

from ..orthomerge_core.errors import OrthoMergeError
from ..orthomerge_core.keys.choices import choices
from ..orthomerge_core.keys.opening import open_set
from ..orthomerge_core.keys.setspec import SetSpec
from . import host

__all__ = ["set_choices"]


def set_choices(spec: SetSpec) -> dict[str, Any] | None:
    """As `keys.choices`, with `vae_files` where the base has a VAE; headers are read.

    None where the set cannot be opened: whatever runs next says why.
    """
    try:
        with open_set(spec, allow_empty=True, find_duplicates=False) as aligned:
            found = choices(aligned)
    except OrthoMergeError:
        return None
    return found | {"vae_files": host.vae_names() if "vae" in found["components"] else []}
