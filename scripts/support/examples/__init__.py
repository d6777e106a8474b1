"""The example workflows: one function each, in the order in which the browser lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .checkpoints import bake_vae, checkpoint_merge
from .classic import add_difference, block_weights, selective, slerp, weighted_sum
from .explore import extract_lora, grid, tune
from .files import quantised_models, recipe_from_merged_file, save
from .first import app_mode, quickstart
from .pieces import Studio
from .studio import (
    compare_two_mixes,
    full_studio,
    lora_as_a_row,
    lora_file_as_a_row,
    proposal,
)

__all__ = ["EXAMPLES", "Example", "Studio", "file_name"]


@dataclass(frozen=True)
class Example:
    """A workflow: the function that makes it, and its title in ComfyUI's list of templates.

    The title is its file's name, with a number in front, because ComfyUI shows and sorts files.
    """

    make: Callable[[Studio], None]
    title: str

    @property
    def name(self) -> str:
        """What its API prompt is called."""
        return self.make.__name__

    @property
    def about(self) -> str:
        """One sentence for a list of workflows."""
        return (self.make.__doc__ or "").splitlines()[0]


EXAMPLES = (
    Example(quickstart, "Quickstart"),
    Example(proposal, "Analyze and propose"),
    Example(full_studio, "Full studio"),
    Example(app_mode, "App mode"),
    Example(compare_two_mixes, "Compare two mixes"),
    Example(weighted_sum, "Weighted sum"),
    Example(add_difference, "Add difference"),
    Example(slerp, "SLERP"),
    Example(block_weights, "Block weights"),
    Example(selective, "Attention only"),
    Example(lora_as_a_row, "LoRA as a row"),
    Example(quantised_models, "Quantized models"),
    Example(save, "Merge and save"),
    Example(recipe_from_merged_file, "Recipe from a file"),
    Example(checkpoint_merge, "Merge checkpoints"),
    Example(bake_vae, "Bake a VAE in"),
    Example(lora_file_as_a_row, "LoRA file as a row"),
    Example(grid, "Grid of merges"),
    Example(tune, "Tune a merge"),
    Example(extract_lora, "Extract a LoRA"),
)


def file_name(name: str) -> str:
    """The file of the workflow whose API prompt is `name`: `01 Quickstart`."""
    number, found = next((i, e) for i, e in enumerate(EXAMPLES, start=1) if e.name == name)
    return f"{number:02} {found.title}"
