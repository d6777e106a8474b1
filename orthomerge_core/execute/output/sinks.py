"""Destinations of merged tensors: a file or a state dict. Both get the same bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...io.dtypes import torch_dtype
from ...io.gguf_writer import GgufWriter
from ...io.quant.ggml import GgmlEncoder
from ...io.writer import SafetensorsWriter
from ..plan.gguf_file import ggml_encoder, gguf_architecture
from ..plan.model import Plan

__all__ = ["FileSink", "GgufSink", "Layout", "Sink", "StateDictSink", "sink_for"]

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""key → (safetensors dtype name, shape)."""


class Sink(ABC):
    """Takes a merge. `begin`, then writes in any order, then `finish` or `abort`."""

    @abstractmethod
    def begin(self, layout: Layout, metadata: Mapping[str, str]) -> None:
        """Make room for everything."""

    @abstractmethod
    def write_flat(self, key: str, flat: Tensor, start: int) -> None:
        """Store elements [start, start + len(flat)); the same elements may be stored again."""

    @abstractmethod
    def finish(self, patch: Mapping[str, str]) -> None:
        """Everything is written; `patch` replaces metadata values by ones of the same length."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind."""


class FileSink(Sink):
    """A safetensors file: complete after `finish`, absent otherwise.

    Raises `WriteError` for a read-only folder, a full disk, or an existing file unless `overwrite`.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        self.path, self.overwrite = path, overwrite
        self._writer: SafetensorsWriter | None = None

    def begin(self, layout: Layout, metadata: Mapping[str, str]) -> None:
        """See `Sink`."""
        self._writer = self._make(layout, metadata)

    def _make(self, layout: Layout, metadata: Mapping[str, str]) -> SafetensorsWriter:
        return SafetensorsWriter(self.path, layout, metadata, overwrite=self.overwrite)

    def write_flat(self, key: str, flat: Tensor, start: int) -> None:
        """See `Sink`."""
        self._open().write_flat(key, flat, start)

    def finish(self, patch: Mapping[str, str]) -> None:
        """See `Sink`."""
        self._open().finish(patch)
        self.abort()

    def abort(self) -> None:
        """See `Sink`. After `finish` it only releases the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open(self) -> SafetensorsWriter:
        if self._writer is None:
            raise ValueError("the sink is not open")
        return self._writer


class GgufSink(FileSink):
    """A GGUF file with the names and fields that ComfyUI-GGUF's loader reads."""

    def __init__(self, plan: Plan, path: Path, encoder: GgmlEncoder) -> None:
        super().__init__(path, plan.overwrite)
        self._packed = {
            tensor.name: (encoder.number, tensor.shape)
            for tensor in plan.tensors
            if tensor.stored.scheme
        }
        self._architecture = gguf_architecture(plan.aligned.architecture.name) or ""
        self._file_type = encoder.file_type

    def _make(self, layout: Layout, metadata: Mapping[str, str]) -> SafetensorsWriter:
        numbers = {"general.quantization_version": 2, "general.file_type": self._file_type}
        return GgufWriter(
            self.path,
            layout,
            {**metadata, "general.architecture": self._architecture},
            packed=self._packed,
            numbers=numbers,
            overwrite=self.overwrite,
        )


class StateDictSink(Sink):
    """Independent contiguous tensors in `state_dict`, the header's strings in `metadata`.

    Both are empty until `finish`. Keys are in the layout's order.
    """

    def __init__(self) -> None:
        self.state_dict: dict[str, Tensor] = {}
        self.metadata: dict[str, str] = {}
        self._tensors: dict[str, Tensor] = {}
        self._metadata: dict[str, str] = {}

    def begin(self, layout: Layout, metadata: Mapping[str, str]) -> None:
        """See `Sink`."""
        self._tensors = {
            key: torch.empty(shape, dtype=torch_dtype(dtype))
            for key, (dtype, shape) in layout.items()
        }
        self._metadata = dict(metadata)

    def write_flat(self, key: str, flat: Tensor, start: int) -> None:
        """See `Sink`."""
        self._tensors[key].view(-1)[start : start + len(flat)].copy_(flat)

    def finish(self, patch: Mapping[str, str]) -> None:
        """See `Sink`."""
        self.state_dict, self._tensors = self._tensors, {}
        self.metadata = self._metadata | dict(patch)

    def abort(self) -> None:
        """See `Sink`."""
        self._tensors = {}


def sink_for(plan: Plan) -> FileSink | StateDictSink:
    """Where a plan's merge goes: its target, or memory where it has none."""
    if plan.target is None:
        return StateDictSink()
    encoder = ggml_encoder(plan.recipe.output_dtype)
    if encoder is not None:
        return GgufSink(plan, plan.target, encoder)
    return FileSink(plan.target, plan.overwrite)
