"""Workflows with analysis and proposal."""

from __future__ import annotations

from typing import Any

from ..family_extras import LORA_FILE
from ..workflow import Group, Node
from .pieces import BASE, LOOK, Studio, files, table

__all__ = ["compare_two_mixes", "full_studio", "lora_as_a_row", "lora_file_as_a_row", "proposal"]


def lora_as_a_row(flow: Studio) -> None:
    """A LoRA on the base, weighed against fine-tunes."""
    loader = flow.add("UNETLoader", unet_name=BASE)
    lora = flow.add("LoraLoaderModelOnly", model=loader, lora_name=LORA_FILE, strength_model=1.0)
    picked = flow.models("ink", "photo")
    added = flow.add("OrthoAddModel", models=picked, model=lora, name="my-lora")
    analysis = flow.add("DeltaGramAnalyzer", models=added)
    mix = flow.add("DeltaBaseOptimizer", analysis=analysis)
    mixer = flow.add("OrthoMixer", models=added, mix=mix)
    group, parts = flow.prompt("a red star")
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    sampler, decoded, image = flow.image(merged, parts, "lora_as_a_row")
    flow.lay_out(
        [
            Group(
                "1  Models and a LoRA",
                "Load the LoRA onto the base and add that MODEL to the set. It becomes a row like "
                "any other model; neither file is changed.",
                [[loader, lora, picked, added]],
            )
        ],
        [
            Group(
                "2  How they differ",
                "The analyzer compares the LoRA's change with those of the fine-tunes. The "
                "optimizer says who repeats whom.",
                [[analysis, mix]],
            )
        ],
        [
            Group(
                "3  The mix",
                "Weigh the LoRA against the fine-tunes, limit it to layers, or switch it off. "
                "Merged, it needs no LoRA loader any more.",
                [[mixer]],
            ),
            group,
        ],
        [Group("4  Merge and look", LOOK, [[merged, sampler], [decoded, image]])],
    )


def lora_file_as_a_row(flow: Studio) -> None:
    """A LoRA's file beside fine-tunes, without a loader: the recipe can be repeated."""
    names = "\n".join([files("photo"), LORA_FILE])
    picked = flow.add("OrthoModelSet", base=BASE, models=names)
    lora = LORA_FILE.removesuffix(".safetensors")
    rows = table({"model": "photo", "alpha": 0.6}, {"model": lora, "alpha": 0.9})
    mixer = flow.add("OrthoMixer", models=picked, method="task_arithmetic", table=rows)
    flow.simple(
        "lora_file_as_a_row",
        picked,
        "Files of models/loras/ are named like any model. A LoRA that trained text encoders "
        "changes those too where the base is a full checkpoint.",
        mixer,
        "alpha is the LoRA's strength; text is its strength for the text encoders. Limit it to "
        "layers, or measure another model's change from it, as with any row.",
    )


def compare_two_mixes(flow: Studio) -> None:
    """One proposal merged by two methods, with the same seed, side by side."""
    picked = flow.models("ink", "ink-fine", "paint", "photo")
    analysis = flow.add("DeltaGramAnalyzer", models=picked)
    mix = flow.add("DeltaBaseOptimizer", analysis=analysis)
    one = flow.add("OrthoMixer", "Mix A", models=picked, mix=mix, method="orthomerge")
    two = flow.add("OrthoMixer", "Mix B", models=picked, mix=mix, method="average")
    group, parts = flow.prompt()
    columns = []
    for name, mixer in (("a", one), ("b", two)):
        merged = flow.add("OrthoMergeExecute", f"Merge {name.upper()}", recipe=mixer)
        columns.append(
            [merged, *flow.image(merged, parts, f"compare_{name}", title=f"Mix {name.upper()}")]
        )
    flow.lay_out(
        [
            Group(
                "1  Which models",
                "One set and one analysis serve both mixes. Nothing is read twice.",
                [[picked, analysis]],
            )
        ],
        [
            Group(
                "2  The proposal",
                "Both tables follow it until you change a cell. A change in one leaves the other "
                "as it is.",
                [[mix]],
            ),
            group,
        ],
        [
            Group(
                "3  Two mixes",
                "A uses orthomerge, B averages. Change anything in either: method, alpha, rows.",
                [[one, two]],
            )
        ],
        [
            Group(
                "4  Side by side",
                "Same seed, same prompt, so that the difference is the merge. Each merge tells "
                "what is left of every row.",
                columns,
            )
        ],
    )


def proposal(flow: Studio) -> None:
    """Six models are checked, compared and merged as the optimizer proposes."""
    picked = flow.models("ink", "ink-fine", "paint", "paint-copy", "photo", "star")
    fixed = flow.add("CompatibilityFix", models=picked)
    analysis = flow.add("DeltaGramAnalyzer", models=fixed)
    mix = flow.add("DeltaBaseOptimizer", analysis=analysis)
    mixer = flow.add("OrthoMixer", models=fixed, mix=mix)
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    group, parts = flow.prompt("a red star")
    images = flow.image(merged, parts, "proposal")
    first = Group(
        "1  Which models",
        "Choose your base and its fine-tunes. Compatibility Fix says what is wrong with each file "
        "and repairs it while reading.",
        [[picked, fixed]],
    )
    proposal, mixed, look = _middle(analysis, mix, mixer, merged, images)
    findings = _findings(flow, analysis, mix)
    flow.lay_out([first], [proposal], [mixed, group], [look], [findings])


def full_studio(flow: Studio) -> None:
    """Every node of the pack: a LoRA as a row, five models, pictures, saving and export."""
    loader = flow.add("UNETLoader", unet_name=BASE)
    lora = flow.add("LoraLoaderModelOnly", model=loader, lora_name=LORA_FILE, strength_model=1.0)
    picked = flow.models("ink", "ink-fine", "paint", "paint-copy", "photo")
    added = flow.add("OrthoAddModel", models=picked, model=lora, name="my-lora")
    fixed = flow.add("CompatibilityFix", models=added)
    analysis = flow.add("DeltaGramAnalyzer", models=fixed)
    mix = flow.add("DeltaBaseOptimizer", analysis=analysis)
    mixer = flow.add("OrthoMixer", models=fixed, mix=mix)
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    group, parts = flow.prompt()
    images = flow.image(merged, parts, "full_studio")
    first = Group(
        "1  Which models",
        "A base, its fine-tunes, and a LoRA as one more row. Compatibility Fix says what is wrong "
        "with each file and repairs it while reading.",
        [[loader, lora, picked, added], [fixed]],
    )
    proposal, mixed, look = _middle(analysis, mix, mixer, merged, images)
    findings = _findings(flow, analysis, mix)
    beside, kept = _beside(flow, fixed, parts), _kept(flow, fixed, merged)
    swept, searched = _swept(flow, mixer, parts), _searched(flow, mixer, mix, fixed, parts)
    flow.lay_out(
        [first],
        [proposal],
        [mixed, group],
        [look, beside],
        [kept, findings],
        [swept, searched],
    )


def _middle(
    analysis: Node, mix: Node, mixer: Node, merged: Node, images: list[Node]
) -> tuple[Group, Group, Group]:
    proposal = Group(
        "2  How they differ, and a proposal",
        "One pass over the files, then the best delta base of every model. The report says who "
        "repeats whom.",
        [[analysis, mix]],
    )
    mixed = Group(
        "3  Your mix",
        "Untouched cells follow the proposal, touched ones stay yours. The forecast under the rows "
        "needs no merge.",
        [[mixer]],
    )
    return proposal, mixed, Group("4  Merge and look", LOOK, [[merged], images])


def _findings(flow: Studio, analysis: Node, mix: Node) -> Group:
    heat = flow.add("PreviewImage", "Heatmaps", (640, 820), images=analysis[1])
    tree = flow.add("PreviewImage", "Lineage", (640, 420), images=mix[1])
    return Group(
        "The findings as pictures",
        "How much each pair shares and contradicts, and who came from whom. Both nodes give them "
        "as images.",
        [[heat, tree]],
    )


def _beside(flow: Studio, fixed: Node, parts: dict[str, Any]) -> Group:
    pick = flow.add("OrthoPickModel", models=fixed, name="base")
    sampler, *rest = flow.image(pick, parts, "full_studio_base", title="Base")
    return Group(
        "5  Beside it: a model of the set",
        "Any model of the set as the merge sees it, with the same seed. Write another name to "
        "compare with that one.",
        [[pick, sampler], rest],
    )


def _swept(flow: Studio, mixer: Node, parts: dict[str, Any]) -> Group:
    grid = flow.add("OrthoGrid", recipe=mixer, columns="alpha = 0, 0.5, 1")
    merged = flow.add("OrthoMergeExecute", "Merge of every cell", recipe=grid)
    sampler, decoded, saved = flow.image(merged, parts, "full_studio_cell", title="Cells")
    sheet = flow.add("OrthoGridPicture", images=decoded, grid=grid[1])
    return Group(
        "7  A grid",
        "One merge per value, with the same seed: here every alpha at 0, 0.5 and 1.",
        [[grid, merged], [sampler, decoded, saved], [sheet]],
    )


def _searched(flow: Studio, mixer: Node, mix: Node, fixed: Node, parts: dict[str, Any]) -> Group:
    tune = flow.add("OrthoTune", recipe=mixer, study="full studio", trials=20)
    merged = flow.add("OrthoMergeExecute", "Merge of this trial", recipe=tune)
    sampler, decoded, saved = flow.image(merged, parts, "full_studio_trial", title="Trial")
    like = flow.add("OrthoPickModel", "What it should look like", models=fixed, name="ink")
    other = flow.image(like, parts, "full_studio_like", title="Ink alone")
    score = flow.add("OrthoPictureScore", images=decoded, reference=other[1])
    result = flow.add(
        "OrthoTuneResult", trial=tune[1], score=score, mix=mix, recipe=tune, images=decoded
    )
    return Group(
        "8  A search",
        "Every queued run tries another alpha for each row and stores how much the picture agrees "
        "with that of one model. Connect any score of your own.",
        [[tune, merged], [sampler, decoded, saved], [like, *other], [score, result]],
    )


def _kept(flow: Studio, fixed: Node, merged: Node) -> Group:
    kept = flow.add("OrthoMergeSave", recipe=merged[1], filename_prefix="diffusion_models/studio")
    export = flow.add("OrthoRecipe", recipe=merged[1], export="json")
    lora = flow.add(
        "OrthoExtractLoRA", models=fixed, name="ink", max_rank=16, filename_prefix="loras/studio"
    )
    return Group(
        "6  Keep it",
        "The file is what was previewed, tensor for tensor. The recipe can be exported as JSON, "
        "for sd-mecha, or as a Python script. One model's change can be kept as a LoRA.",
        [[kept], [export], [lora]],
    )
