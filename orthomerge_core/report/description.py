"""What one file is, from its header alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..execute.output.provenance import RECIPE
from ..io.opening import open_source
from ..keys.components import component_label, component_of
from ..keys.normalize import normalize_shapes
from .ancestry_text import ancestry_lines

__all__ = ["FileDescription", "describe_file"]


@dataclass(frozen=True)
class FileDescription:
    """A model file in figures.

    parameters: values in all tensors. bytes: of all tensors as stored. dtypes: storage format →
    number of tensors. quantization: the same where scales are. prefix: what stands before every
    name of the diffusion model. left_out: reason → number of tensors outside it that no component
    holds. not_weights: the same for tensors that carry no weights, such as quantization scales.
    components: text encoders and VAE, in words. ancestry: the tree of merges that the header holds,
    a line each.
    """

    file: str
    architecture: str
    architecture_label: str
    tensors: int
    parameters: int
    bytes: int
    dtypes: Mapping[str, int]
    quantization: Mapping[str, int]
    prefix: str
    left_out: Mapping[str, int]
    not_weights: Mapping[str, int]
    has_recipe: bool
    components: tuple[str, ...]
    ancestry: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON; no paths."""
        found = asdict(self)
        return found | {"quantised": found.pop("quantization")}

    def __str__(self) -> str:
        lines = [
            f"{self.file}: {self.architecture_label}",
            f"  {self.tensors} tensors, {self.parameters / 1e6:,.1f} M parameters, "
            f"{self.bytes / 2**20:,.0f} MiB",
            f"  stored as {_counts(self.dtypes)}",
        ]
        if self.quantization:
            lines.append(f"  quantized: {_counts(self.quantization)}")
        if self.prefix:
            lines.append(f"  prefix {self.prefix}")
        if self.left_out:
            lines.append(f"  left out: {_counts(self.left_out)}")
        if self.not_weights:
            lines.append(f"  not weights: {_counts(self.not_weights)}")
        if self.components:
            lines.append("  components: " + ", ".join(self.components))
        if self.has_recipe:
            lines.append("  holds the recipe it was merged with (see export)")
        return "\n".join([*lines, *(f"  {line}" for line in self.ancestry)])


def describe_file(path: Path) -> FileDescription:
    """Describe a model file; reads its header.

    Raises:
        FileError: the file cannot be opened. HeaderError: its header is damaged.
    """
    with open_source(path) as source:
        view = normalize_shapes({key: entry.shape for key, entry in source.entries.items()})
        entries = list(source.entries.values())
        parts = dict.fromkeys(component_of(key) for key in view.parts)
        return FileDescription(
            file=source.name,
            architecture=view.architecture.name,
            architecture_label=view.architecture.label,
            tensors=len(entries),
            parameters=sum(entry.numel for entry in entries),
            bytes=sum(entry.n_bytes for entry in entries),
            dtypes=dict(Counter(entry.dtype for entry in entries).most_common()),
            quantization=dict(Counter(entry.quant for entry in entries if entry.quant)),
            prefix=view.prefix,
            left_out={reason: len(keys) for reason, keys in view.left_out.items()},
            not_weights=dict(Counter(source.dropped.values())),
            has_recipe=RECIPE in source.metadata,
            components=tuple(component_label(name) for name in parts),
            ancestry=tuple(ancestry_lines(source.metadata)),
        )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
