"""MODELs that share the memory of one: each is merged when ComfyUI loads it.

ComfyUI runs a node for every item of a list before the next node sees any of them, so sixteen
merges would lie in memory before the first is sampled. Here the sixteen MODELs share one module.
When ComfyUI loads one of them, its weights are made and take the place of the former's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

__all__ = ["LazySlot", "lazy_model"]

_KEY = "orthomerge_lazy"


class LazySlot:
    """The one module, and whose weights are in it. Keeps no MODEL alive.

    `made` counts how often weights were made.
    """

    def __init__(self) -> None:
        self.holder: str | None = None
        self.made = 0
        self._first: weakref.ref[Any] | None = None

    @property
    def model(self) -> Any:
        """The first MODEL of this slot, while one of its MODELs lives."""
        return self._first() if self._first is not None else None

    def start_with(self, model: Any) -> None:
        """`model` is the first one."""
        self._first = weakref.ref(model)


@dataclass(frozen=True)
class _Turn:
    """What a MODEL of a slot needs to put its own weights there; shared by its clones."""

    slot: LazySlot
    name: str
    make: Callable[[], Any]


def lazy_model(slot: LazySlot, name: str, make: Callable[[], Any]) -> Any:
    """A MODEL whose weights are made by `make` whenever ComfyUI loads it and others are there.

    Args:
        slot: shared by MODELs of one architecture and dtype.
        name: tells this MODEL's weights from the others'; equal names mean equal weights.
        make: returns a MODEL with these weights, of which only the weights are kept.
    """
    first = slot.model
    model = make() if first is None else first.clone()
    if first is None:
        slot.made, slot.holder = slot.made + 1, name
        kind: type = type(model)
        model.__class__ = _lazy_class(kind)
        slot.start_with(model)
    model.attachments[_KEY] = _Turn(slot, name, make)
    return model


def take_turn(model: Any) -> None:
    """Put the weights of `model` into the module that it shares; nothing where they are there."""
    turn: _Turn = model.attachments[_KEY]
    slot = turn.slot
    if slot.holder == turn.name:
        return
    inner = model.model
    model.unpatch_model(model.offload_device, unpatch_weights=True)
    slot.holder = None  # until the new weights are complete: a stop in between leaves none
    if hasattr(inner, "diffusion_model"):
        del inner.diffusion_model  # its memory is needed by the next one
    inner.diffusion_model = turn.make().model.diffusion_model
    slot.made, slot.holder = slot.made + 1, turn.name


class _Lazy:
    """Merges its weights before they are read."""

    def partially_load(self, *args: Any, **kwargs: Any) -> Any:
        """ComfyUI loads the model, or more of it."""
        take_turn(self)
        return super().partially_load(*args, **kwargs)  # type: ignore[misc]  # a mixin

    def patch_model(self, *args: Any, **kwargs: Any) -> Any:
        """Weights are about to be patched in place."""
        take_turn(self)
        return super().patch_model(*args, **kwargs)  # type: ignore[misc]  # a mixin

    def get_key_patches(self, *args: Any, **kwargs: Any) -> Any:
        """Another node merges these weights; it gets copies, since the others' take their place."""
        take_turn(self)
        found = super().get_key_patches(*args, **kwargs)  # type: ignore[misc]  # a mixin
        return {key: [_copied(patches[0]), *patches[1:]] for key, patches in found.items()}

    def model_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Another node saves or reads these weights."""
        take_turn(self)
        return super().model_state_dict(*args, **kwargs)  # type: ignore[misc]  # a mixin


def _copied(patch: Any) -> Any:
    """The first entry of a key's patches: the weight, alone or with its conversion."""
    if isinstance(patch, tuple):
        return (patch[0].clone(), *patch[1:])
    return patch.clone()


@lru_cache(maxsize=8)
def _lazy_class(plain: type) -> type:
    return type(f"Lazy{plain.__name__}", (_Lazy, plain), {})
