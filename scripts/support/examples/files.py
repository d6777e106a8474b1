"""Workflows about files: quantised ones, merged ones, and saving."""

from __future__ import annotations

from ..family_extras import MERGED_FILE, QUANTISED
from ..workflow import Group
from .pieces import BASE, LOOK, Studio

__all__ = ["quantised_models", "recipe_from_merged_file", "save"]


def quantised_models(flow: Studio) -> None:
    """Two fp8 files merged with a bf16 base, and the result as scaled fp8."""
    picked = flow.add("OrthoModelSet", base=BASE, models="\n".join(QUANTISED))
    fixed = flow.add("CompatibilityFix", models=picked)
    mixer = flow.add("OrthoMixer", models=fixed, method="average")
    group, parts = flow.prompt()
    merged = flow.add("OrthoMergeExecute", recipe=mixer, output_dtype="fp8_e4m3fn")
    sampler, decoded, image = flow.image(merged, parts, "quantised_models")
    flow.lay_out(
        [
            Group(
                "1  Which models",
                "Quantised files are read as the exact weights they stand for: fp8 with and "
                "without scales, GGUF, mxfp8, nvfp4, int8. The table says what was found.",
                [[picked], [fixed]],
            )
        ],
        [
            Group(
                "2  The mix",
                "Scales never meet the merge, so formats may be mixed freely. A bf16 `base` keeps "
                "most digits.",
                [[mixer]],
            ),
            group,
        ],
        [
            Group(
                "3  Merge and look",
                "`fp8_e4m3fn` gives scaled fp8 that ComfyUI loads as it is. `base` keeps "
                "the base's own dtype.",
                [[merged], [sampler, decoded], [image]],
            )
        ],
    )


def recipe_from_merged_file(flow: Studio) -> None:
    """A merge repeated from a file's header."""
    recipe = flow.add("OrthoRecipe", file=MERGED_FILE)
    text = flow.add("PreviewAny", "The recipe as text", source=recipe[1])
    group, parts = flow.prompt()
    merged = flow.add("OrthoMergeExecute", recipe=recipe)
    sampler, decoded, image = flow.image(merged, parts, "recipe_from_merged_file")
    flow.lay_out(
        [
            Group(
                "1  The recipe in a file",
                "Every file that Ortho Merge Save writes holds its recipe and the hashes of its "
                "sources. Choose one; its models are found by name, or by content if renamed.",
                [[recipe], [text]],
            ),
            group,
        ],
        [
            Group(
                "2  The same merge again",
                "Same recipe and same files give the same bytes, so the content hash is that of "
                "the file. Set export to mecha or script to run it elsewhere.",
                [[merged], [sampler, decoded, image]],
            )
        ],
    )


def save(flow: Studio) -> None:
    """Look first, then keep what was seen."""
    picked = flow.models("ink", "photo")
    mixer = flow.add("OrthoMixer", models=picked, method="orthogonal_projection")
    group, parts = flow.prompt()
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    sampler, decoded, image = flow.image(merged, parts, "save")
    kept = flow.add("OrthoMergeSave", recipe=merged[1], filename_prefix="diffusion_models/my-merge")
    path = flow.add("PreviewAny", "The file", (380, 120), source=kept)
    flow.lay_out(
        [
            Group(
                "1  Which models",
                "A base and its fine-tunes. Your files are only read.",
                [[picked]],
            )
        ],
        [
            Group(
                "2  The mix",
                "Without an optimizer every model is one row with alpha 1. Add, remove and change "
                "rows as you like.",
                [[mixer]],
            ),
            group,
        ],
        [
            Group("3  Merge and look", LOOK, [[merged], [sampler, decoded], [image]]),
            Group(
                "4  Keep it",
                "The file holds exactly the tensors that made the picture: the hashes agree, and "
                "nothing is merged twice. Bypass this node until you are content.",
                [[kept], [path]],
            ),
        ],
    )
