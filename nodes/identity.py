"""The identity of a MODEL's weights without reading them: its file and its patches."""

from __future__ import annotations

import uuid
import weakref
from typing import Any

import torch

from ..orthomerge_core.io.hashing import Hasher, tensor_bytes

__all__ = ["identity"]

_MAX_PATCH_BYTES = 1 << 30  # whole models as patches are not read just to be hashed
_loaded: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def identity(model: Any) -> str:
    """A text that is equal for equal weights of one loaded model, however often it was patched.

    Patches count by what they hold, so a LoRA set back to its former strength gives the former
    text. Where they cannot be hashed (functions, or more than 1 GiB), their own uuid stands for
    them: it changes with every patching. Good for one run of the host.
    """
    base = _loaded.setdefault(model.model, uuid.uuid4().hex)
    patches = _Patches()
    for key in sorted(model.patches, key=str):
        patches.take(str(key))
        patches.take(model.patches[key])
    if getattr(model, "weight_wrapper_patches", None):
        patches.unknown = True
    return f"{base} {model.patches_uuid if patches.unknown else patches.digest()}"


class _Patches:
    """Hashes nested patches; `unknown` once something in them has no content to hash."""

    def __init__(self) -> None:
        self.unknown = False
        self._hasher = Hasher()
        self._left = _MAX_PATCH_BYTES

    def digest(self) -> str:
        return self._hasher.hexdigest()

    def take(self, value: Any) -> None:
        if self.unknown:
            return
        if isinstance(value, torch.Tensor):
            self._tensor(value)
        elif isinstance(value, (str, int, float, type(None))):
            self._word(f"{type(value).__name__} {value!r}")
        elif isinstance(value, (tuple, list)):
            self._word(f"{len(value)} items")
            for item in value:
                self.take(item)
        elif isinstance(value, dict):
            self.take(sorted(value.items(), key=lambda item: str(item[0])))
        elif hasattr(value, "weights"):  # the host's adapters: LoRA, LoHa, LoKr, …
            self._word(type(value).__name__)
            self.take(value.weights)
        else:
            self.unknown = True

    def _tensor(self, tensor: torch.Tensor) -> None:
        self._left -= tensor.numel() * tensor.element_size()
        if self._left < 0 or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            self.unknown = True
            return
        self._word(f"{tensor.dtype} {tuple(tensor.shape)}")
        self._hasher.update(tensor_bytes(tensor))

    def _word(self, text: str) -> None:
        self._hasher.update(f"{text}\n".encode())
