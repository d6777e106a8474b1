"""Workflows about full checkpoints: all their components in, all of them out."""

from __future__ import annotations

from ..checkpoints import CHECKPOINT_FOLDER, OTHER_VAE
from ..workflow import Group, Node
from .pieces import LOOK, Studio, table

__all__ = ["bake_vae", "checkpoint_merge"]


def checkpoint_merge(flow: Studio) -> None:
    """Two full checkpoints merged with their text encoders, seen, and saved as one checkpoint."""
    picked = _checkpoints(flow, "star", "photo")
    rows = table({"model": "star", "text": 0.5}, {"model": "photo", "text": 0.2})
    mixer = flow.add("OrthoMixer", models=picked, table=rows)
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    group, parts = flow.words(merged, "a yellow star")
    sampler, decoded, image = flow.image(merged, parts, "checkpoint_merge")
    kept = flow.add("OrthoMergeSave", recipe=merged[1])
    path = flow.add("PreviewAny", "The file", (380, 120), source=kept)
    flow.lay_out(
        [
            Group(
                "1  Which checkpoints",
                "Diffusion model, text encoders and VAE of each file take part. Set components to "
                "diffusion to merge the diffusion models alone.",
                [[picked]],
            )
        ],
        [
            Group(
                "2  The mix",
                "The column text is a row's alpha for the text encoders: empty follows alpha, 0 "
                "keeps the base's. The VAE stays the base's unless vae says otherwise.",
                [[mixer]],
            ),
            group,
        ],
        [
            Group("3  Merge and look", LOOK, [[merged], [sampler, decoded], [image]]),
            Group(
                "4  Keep it",
                "The file goes to checkpoints/, with the base's keys and dtypes, for any "
                "checkpoint loader. Bypass this node until you are content.",
                [[kept], [path]],
            ),
        ],
    )


def bake_vae(flow: Studio) -> None:
    """A checkpoint with another VAE baked in, beside a picture with its old one."""
    picked = _checkpoints(flow, "star")
    rows = table({"model": "star", "text": 1.0})
    mixer = flow.add("OrthoMixer", models=picked, table=rows, vae=OTHER_VAE)
    merged = flow.add("OrthoMergeExecute", recipe=mixer)
    group, parts = flow.words(merged)
    sampler, decoded, image = flow.image(merged, parts, "bake_vae", title="With the new VAE")
    before = flow.add("OrthoPickModel", "The base alone", (340, 110), models=picked, name="base")
    own = flow.add("VAEDecode", "VAEDecode of the base", samples=sampler, vae=before[2])
    beside = flow.add(
        "SaveImage", "With the base's VAE", images=own, filename_prefix="OrthoMerge/bake_vae_base"
    )
    kept = flow.add("OrthoMergeSave", recipe=merged[1], filename_prefix="checkpoints/with-my-vae")
    flow.lay_out(
        [
            Group(
                "1  Which checkpoint", "A base, and a model of it that is taken whole.", [[picked]]
            )
        ],
        [
            Group(
                "2  The VAE",
                "vae names a file of models/vae/: it replaces the base's VAE as it is. With every "
                "row switched off, nothing but the VAE changes.",
                [[mixer]],
            ),
            group,
        ],
        [
            Group(
                "3  Look",
                "One latent image decoded twice: by the VAE that is baked in, and by the base's.",
                [[merged, sampler], [decoded, image], [before, own, beside]],
            ),
            Group("4  Keep it", "One checkpoint, with the new VAE inside.", [[kept]]),
        ],
    )


def _checkpoints(flow: Studio, *names: str) -> Node:
    files = [f"{CHECKPOINT_FOLDER}/{name}.safetensors" for name in ("base", *names)]
    return flow.add("OrthoModelSet", base=files[0], models="\n".join(files[1:]))
