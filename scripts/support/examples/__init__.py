"""The example workflows, each described by one function."""

from collections.abc import Callable

from .classic import add_difference, block_weights, selective, slerp, weighted_sum
from .files import quantised_models, recipe_from_merged_file, save
from .pieces import Studio
from .studio import compare_two_mixes, full_studio, lora_as_a_row, quickstart

__all__ = ["WORKFLOWS", "Studio"]

WORKFLOWS: dict[str, Callable[[Studio], None]] = {
    made.__name__: made
    for made in (
        quickstart,
        full_studio,
        compare_two_mixes,
        lora_as_a_row,
        block_weights,
        selective,
        weighted_sum,
        add_difference,
        slerp,
        quantised_models,
        recipe_from_merged_file,
        save,
    )
}
