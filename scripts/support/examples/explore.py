"""Workflows that try many merges, and one that keeps a merge as a LoRA."""

from __future__ import annotations

from ..workflow import Group
from .pieces import LOOK, Studio, table

__all__ = ["extract_lora", "grid", "tune"]


def grid(flow: Studio) -> None:
    """Nine merges as one picture: two models, each at three strengths."""
    picked = flow.models("paint", "photo")
    mixer = flow.add("OrthoMixer", models=picked, method="orthogonal_projection")
    cells = flow.add(
        "OrthoGrid", recipe=mixer, columns="photo.alpha = 0, 0.5, 1", rows="paint.alpha = 0, 0.5, 1"
    )
    group, parts = flow.prompt()
    merged = flow.add("OrthoMergeExecute", "Merge of every cell", recipe=cells)
    sampler, decoded, saved = flow.image(merged, parts, "grid_cell", title="Cells")
    sheet = flow.add("OrthoGridPicture", "The grid", (640, 700), images=decoded, grid=cells[1])
    flow.lay_out(
        [
            Group(
                "1  The mix",
                "Any mix can be swept: the grid changes the recipe that comes out of the table.",
                [[picked, mixer]],
            ),
            group,
        ],
        [
            Group(
                "2  What changes",
                "An axis is target = values: an alpha of one row or of all, the method, one of its "
                "options, delta from, strength, or each to leave models out one by one. Values are "
                "a list or a range such as 0..1/5.",
                [[cells, merged]],
            )
        ],
        [
            Group(
                "3  Every cell with the same seed",
                "Cells are merged and sampled one after the other; one merge is in memory at a "
                "time.",
                [[sampler, decoded, saved]],
            )
        ],
        [
            Group(
                "4  The grid",
                "The picture holds the recipe of every cell. Take a cell into the table with the "
                "buttons of this node, or drop the saved PNG on the mixer.",
                [[sheet]],
            )
        ],
    )


GOALS = "maximize, maximize"


def tune(flow: Studio) -> None:
    """A search for the alphas whose picture is nearest to those of two models."""
    picked = flow.models("paint", "photo")
    mixer = flow.add("OrthoMixer", models=picked, method="orthogonal_projection")
    trial = flow.add("OrthoTune", recipe=mixer, study="example search", trials=20, goals=GOALS)
    group, parts = flow.prompt()
    merged = flow.add("OrthoMergeExecute", "Merge of this trial", recipe=trial)
    sampler, decoded, saved = flow.image(merged, parts, "tune_trial", title="Trial")
    scores, columns = [], []
    for name in ("paint", "photo"):
        alone = flow.add("OrthoPickModel", f"{name} alone", models=picked, name=name)
        images = flow.image(alone, parts, f"tune_{name}", title=f"{name} alone")
        scores.append(flow.add("OrthoPictureScore", images=decoded, reference=images[1]))
        columns.append([alone, *images, scores[-1]])
    result = flow.add(
        "OrthoTuneResult",
        trial=trial[1],
        score=scores[0],
        score_2=scores[1],
        recipe=trial,
        images=decoded,
    )
    flow.lay_out(
        [
            Group("1  The mix", "The search changes the recipe of this table.", [[picked, mixer]]),
            group,
        ],
        [
            Group(
                "2  One trial per run",
                "Queue as many runs as you like: each tries other alphas, and the study continues "
                "where it stopped, also after a restart. When all trials are complete, the best "
                "recipe comes out.",
                [[trial, merged], [sampler, decoded, saved]],
            )
        ],
        [
            Group(
                "3  What is good",
                "A trial's picture is compared with those of each model alone. Connect any FLOAT "
                "of your own instead, or set mode to rate and choose between pairs of pictures.",
                columns,
            )
        ],
        [
            Group(
                "4  The result so far",
                "Best trials, history and importance of every parameter. With two scores the "
                "balanced one of the front is offered to the table.",
                [[result]],
            )
        ],
    )


def extract_lora(flow: Studio) -> None:
    """A merge kept as a LoRA of its base."""
    picked = flow.models("paint", "photo")
    rows = table({"model": "paint"}, {"model": "photo"})
    mixer = flow.add("OrthoMixer", models=picked, method="orthogonal_projection", table=rows)
    group, parts = flow.prompt()
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    sampler, decoded, image = flow.image(merged, parts, "extract_lora")
    added = flow.add("OrthoAddModel", models=picked, model=merged, name="merge")
    lora = flow.add(
        "OrthoExtractLoRA",
        models=added,
        name="merge",
        rank_rule="energy",
        fraction=0.95,
        max_rank=64,
        filename_prefix="loras/my-merge",
    )
    path = flow.add("PreviewAny", "The file", (380, 120), source=lora)
    flow.lay_out(
        [
            Group("1  The mix", "Any merge, or any single model of the set.", [[picked, mixer]]),
            group,
        ],
        [Group("2  Merge and look", LOOK, [[merged], [sampler, decoded], [image]])],
        [
            Group(
                "3  What changed, as a LoRA",
                "The merge joins the set under a name, and the change from the base to it is "
                "decomposed layer by layer. The report says how much of it each rank keeps. Move "
                "the file from output/loras to models/loras to load it.",
                [[added, lora], [path]],
            )
        ],
    )
