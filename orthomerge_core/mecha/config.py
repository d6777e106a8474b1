"""Model configs of sd-mecha for any architecture, from a file's header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..io.hashing import bytes_hash
from ..io.header import read_header
from ..keys.detect import detect

__all__ = ["register_config"]

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def register_config(path: Path | str, identifier: str = "") -> str:
    """Give sd-mecha a model config made from a safetensors header; returns its identifier.

    Every key is optional, so that sd-mecha takes what a model lacks from the base. An identifier is
    `<architecture>-<implementation>`; the default is `<detected architecture>-<hash of the keys>`.
    """
    import sd_mecha  # noqa: F401  all of it, even where another thread is loading it just now
    from sd_mecha.extensions import model_configs

    header = read_header(Path(path))
    shapes = {key: tuple(info.shape) for key, info in header.tensors.items()}
    name = identifier or _config_name(shapes)
    keys = {
        key: model_configs.KeyMetadata(
            torch.Size(info.shape), _torch_dtype(info.dtype), optional=True
        )
        for key, info in header.tensors.items()
    }
    if name not in {config.identifier for config in model_configs.get_all()}:
        component = model_configs.ModelComponent(keys)
        model_configs.register_aux(
            model_configs.ModelConfigImpl(identifier=name, components={"model": component})
        )
    return name


def _config_name(shapes: Mapping[str, tuple[int, ...]]) -> str:
    found = "".join(c if c.isalnum() else "_" for c in detect(shapes).name.lower())
    lines = "\n".join(f"{key} {list(shape)}" for key, shape in sorted(shapes.items()))
    return f"{found}-{bytes_hash(lines.encode())[:12]}"


def _torch_dtype(name: str) -> torch.dtype:
    found = getattr(torch, _DTYPES.get(name, ""), None)
    if isinstance(found, torch.dtype):
        return found
    return torch.float32 if name.startswith("F") else torch.int64
