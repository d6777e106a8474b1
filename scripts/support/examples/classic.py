"""The classic strategies as rows of the table."""

from __future__ import annotations

from .pieces import Studio, files, table

__all__ = ["add_difference", "block_weights", "selective", "slerp", "weighted_sum"]


def weighted_sum(flow: Studio) -> None:
    """A weighted sum, 0.7 base + 0.3 photo, is one row."""
    picked = flow.models("photo")
    rows = table({"model": "photo", "delta_from": "base", "alpha": 0.3})
    mixer = flow.add("OrthoMixer", models=picked, method="task_arithmetic", table=rows)
    flow.simple(
        "weighted_sum",
        picked,
        "A base A and one model B. The base is the model at ratio 0.",
        mixer,
        "A weighted sum (1 − r) A + r B is one row of task_arithmetic whose alpha is r. Here r is "
        "0.3.",
    )


def add_difference(flow: Studio) -> None:
    """Add difference, paint + (ink-fine − ink), is one row."""
    picked = flow.models("ink-fine", "ink", base=files("paint"))
    rows = table({"model": "ink-fine", "delta_from": "ink", "alpha": 1.0})
    mixer = flow.add("OrthoMixer", models=picked, method="task_arithmetic", table=rows)
    flow.simple(
        "add_difference",
        picked,
        "A is the base of the set, B and C are its models. What B learned after C is added to A.",
        mixer,
        "A + (B − C) is one row: model B, delta from C. Alpha scales the difference.",
    )


def slerp(flow: Studio) -> None:
    """Halfway on the arc from base to paint."""
    picked = flow.models("paint")
    rows = table({"model": "paint", "delta_from": "base", "alpha": 0.5})
    mixer = flow.add("OrthoMixer", models=picked, method="slerp", table=rows)
    flow.simple(
        "slerp",
        picked,
        "SLERP goes between two models: the base and one other. More models need another method.",
        mixer,
        "Direction and norm of every tensor are interpolated; alpha 0.5 is halfway. Nearly "
        "parallel tensors are interpolated linearly.",
    )


def block_weights(flow: Studio) -> None:
    """One model in the first block, another in the second."""
    picked = flow.models("ink", "paint")
    rows = table(
        {"model": "ink", "alpha": 1.0, "layers": "joint_blocks.0=1, default=0"},
        {"model": "paint", "alpha": 1.0, "layers": "joint_blocks.0=0, *mlp*=0.5, default=1"},
    )
    mixer = flow.add("OrthoMixer", models=picked, method="task_arithmetic", table=rows)
    flow.simple(
        "block_weights",
        picked,
        "Two models that change different things. Each will act in its own part of the network.",
        mixer,
        "The layers column takes pattern=weight pairs, and the first match wins: blocks with "
        "ranges such as `joint_blocks.0-3=0.5`, globs on names such as `*attn*=0`, and `default`. "
        "A weight multiplies the row's alpha there.",
    )


def selective(flow: Studio) -> None:
    """Only the attention of one model, only the rest of another."""
    picked = flow.models("ink", "photo")
    rows = table(
        {"model": "ink", "alpha": 1.0, "layers": "*attn*=1, default=0"},
        {"model": "photo", "alpha": 1.0, "layers": "*attn*=0, default=1"},
    )
    mixer = flow.add("OrthoMixer", models=picked, method="task_arithmetic", table=rows)
    flow.simple(
        "selective",
        picked,
        "Two models of which each shall give only a part of itself.",
        mixer,
        "A glob in the layers column chooses tensors by name: `*attn*=1, default=0` takes the "
        "attention layers and nothing else. The first match wins; what nothing names has weight 1.",
    )
