"""The only package that imports comfy.*, folder_paths and server.

Where releases of ComfyUI differ, the difference ends here. The host's modules are imported inside
the functions, so that the pack registers quickly and its schemas can be looked at without a loaded
torch backend.
"""

from __future__ import annotations

from .files import (
    ModelFolders,
    cache_dir,
    fingerprint,
    listing,
    metadata_allowed,
    names,
    output_folder,
    output_target,
    readable_names,
    resolve,
    resolve_all,
    siblings,
    unshowable_siblings,
)
from .guard import blocked, explain, guarded
from .lazy import LazySlot, lazy_model
from .models import (
    DEVICES,
    PREFIX,
    Checkpoint,
    free_memory,
    load_checkpoint,
    load_model,
    require_format,
    stored_weight,
    torch_device,
    weight_keys,
    weight_value,
)
from .pictures import save_png
from .progress import HostProgress
from .routes import add_routes
from .vaes import resolve_vae, vae_fingerprint, vae_names
from .wiring import wired, wired_anywhere

__all__ = [
    "DEVICES",
    "PREFIX",
    "Checkpoint",
    "HostProgress",
    "LazySlot",
    "ModelFolders",
    "add_routes",
    "blocked",
    "cache_dir",
    "explain",
    "fingerprint",
    "free_memory",
    "guarded",
    "lazy_model",
    "listing",
    "load_checkpoint",
    "load_model",
    "metadata_allowed",
    "names",
    "output_folder",
    "output_target",
    "readable_names",
    "require_format",
    "resolve",
    "resolve_all",
    "resolve_vae",
    "save_png",
    "siblings",
    "stored_weight",
    "torch_device",
    "unshowable_siblings",
    "vae_fingerprint",
    "vae_names",
    "weight_keys",
    "weight_value",
    "wired",
    "wired_anywhere",
]
