"""The list of quantization schemes: a module in this package that uses `@register` is on it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache

from ...errors import UnsupportedError, did_you_mean
from .contract import LayerSpec, QuantLayer
from .expert_stack import ExpertStack

__all__ = ["all_schemes", "make_layer", "register"]


def register(scheme: type[QuantLayer]) -> type[QuantLayer]:
    """Class decorator: mark a finished scheme for the package walk."""
    scheme.registered = True  # type: ignore[attr-defined]  # a mark, not part of the interface
    return scheme


@lru_cache(maxsize=1)
def all_schemes() -> Mapping[str, type[QuantLayer]]:
    """format name in files → scheme, found by walking this package; sorted by name."""
    package = importlib.import_module(__package__ or "")
    found: dict[str, type[QuantLayer]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for item in vars(module).values():
            if not isinstance(item, type) or not issubclass(item, QuantLayer):
                continue
            if item.__dict__.get("registered"):
                found.update(dict.fromkeys(item.formats, item))
    return dict(sorted(found.items()))


_REFUSED = {
    "svdquant_w4a4": "SVDQuant (nunchaku), whose weights exist only together with its activations",
}


def make_layer(spec: LayerSpec) -> QuantLayer:
    """The checked layer, or `UnsupportedError` for what cannot be decoded, by its name."""
    scheme = all_schemes().get(spec.format)
    where = f'layer "{spec.layer}" in "{spec.file}"'
    if spec.format in _REFUSED:
        what = f"{where} is quantized by {_REFUSED[spec.format]}"
        raise UnsupportedError(what, fix="Use the BF16, FP8 or GGUF version of this model.")
    if scheme is None:
        near = did_you_mean(spec.format, tuple(all_schemes()))
        raise UnsupportedError(
            f'{where} has the unknown quantization "{spec.format}"',
            fix=f"{near} Or use the BF16 version of this model.",
        )
    if spec.option("convrot", False) and not scheme.rotates:
        raise UnsupportedError(
            f"{where} is rotated (convrot), which {spec.format} does not define",
            fix="Use the BF16 or FP8 version of this model.",
        )
    stacked = spec.option("num_experts", None) is not None
    stacked = stacked or (scheme.matrix and len(spec.weight.shape) == 3)
    layer = ExpertStack(spec, scheme) if stacked else scheme(spec)
    unused = sorted(spec.sides.keys() - set(layer.needs))
    if unused:
        raise UnsupportedError(
            f'{where} has a "{unused[0]}", which {spec.format} does not define',
            expected=", ".join(layer.needs),
            fix="Use the BF16 or FP8 version of this model.",
        )
    return layer
