"""Text of a LoRA extraction: size, ranks, energy kept, the layers that lose most."""

from __future__ import annotations

from ..lora.extract import LoraReport

__all__ = ["lora_report"]


def lora_report(found: LoraReport, name: str) -> str:
    """Lines of plain text; `name` is what the file is called."""
    ranks = sorted(layer.rank for layer in found.layers if layer.rank)
    whole = len(found.layers) - len(ranks)
    span = f" of rank {ranks[0]} to {ranks[-1]}" if ranks else ""
    lines = [
        f"Saved {name}: {found.n_bytes / 2**20:,.1f} MiB.",
        f"{len(ranks)} layers{span}, {whole} tensors stored whole.",
        f"The LoRA holds {100 * found.kept:.2f} % of the change's energy.",
    ]
    lines += [
        f"  {layer.key}: {100 * layer.kept:.1f} % at rank {layer.rank}"
        for layer in found.largest_losses()
    ]
    return "\n".join(
        [*lines, *(f"Left out: {count} {reason}." for reason, count in found.left_out.items())]
    )
