"""The pieces that most example workflows share."""

from __future__ import annotations

import json
from typing import Any

from ..family import CLIP_FILE, FOLDER, VAE_FILE
from ..workflow import Flow, Group, Node

__all__ = ["BASE", "LOOK", "SIZE_PX", "Studio", "files", "table"]

SIZE_PX = 256
CLIP_SLOT, VAE_SLOT = 4, 5
"""Outputs of the execute node."""

BASE = f"{FOLDER}/base.safetensors"
LOOK = "The merged MODEL goes straight into KSampler. Change the table and run again: only what "
LOOK += "comes after it is done anew."


def files(*names: str) -> str:
    """Names of the family as the host lists them, one per line."""
    return "\n".join(f"{FOLDER}/{name}.safetensors" for name in names)


def table(*rows: dict[str, Any]) -> str:
    """The mixer's table with these rows and no others."""
    touched = [row | {"touched": [k for k in row if k != "model"]} for row in rows]
    return json.dumps({"version": 1, "rows": touched}, separators=(",", ":"))


TITLES = {
    "CompatibilityFix": "Compatibility Fix",
    "DeltaBaseOptimizer": "Delta Base Optimizer",
    "DeltaGramAnalyzer": "Delta Gram Analyzer",
    "OrthoAddModel": "Ortho Add Model",
    "OrthoGrid": "Ortho Merge Grid",
    "OrthoGridPicture": "Ortho Grid Picture",
    "OrthoTune": "Ortho Merge Tune",
    "OrthoTuneResult": "Ortho Merge Tune Result",
    "OrthoPictureScore": "Ortho Picture Score",
    "OrthoMergeExecute": "Ortho Merge Execute",
    "OrthoMergeSave": "Ortho Merge Save",
    "OrthoMixer": "Ortho Merge Mixer",
    "OrthoModelSet": "Ortho Model Set",
    "OrthoPickModel": "Ortho Pick Model",
    "OrthoRecipe": "Ortho Merge Recipe",
}
"""Short titles of our nodes; on older hosts their names carry words for the search."""


class Studio(Flow):
    """A flow with the pieces that most workflows share."""

    def add(
        self,
        kind: str,
        title: str | None = None,
        size: tuple[int, int] | None = None,
        **inputs: Any,
    ) -> Node:
        """One more node; ours have a short title unless they are given one."""
        return super().add(kind, title or TITLES.get(kind), size, **inputs)

    def models(self, *names: str, base: str = BASE) -> Node:
        """A set of the family's models."""
        return self.add("OrthoModelSet", base=base, models=files(*names))

    def prompt(self, text: str = "a red circle") -> tuple[Group, dict[str, Any]]:
        """Everything a sampler needs but its model, and the group that holds it."""
        clip = self.add("CLIPLoader", clip_name=CLIP_FILE, type="sd3")
        yes = self.add("CLIPTextEncode", "Prompt", text=text, clip=clip)
        no = self.add("CLIPTextEncode", "Negative prompt", text="", clip=clip)
        size = self.add("EmptySD3LatentImage", width=SIZE_PX, height=SIZE_PX)
        vae = self.add("VAELoader", vae_name=VAE_FILE)
        note = "Text encoder, VAE, prompt and size, as for any other picture. Use those that belong"
        group = Group("The picture", f"{note} to your base.", [[clip, yes, no], [size, vae]])
        return group, {"positive": yes, "negative": no, "latent_image": size, "vae": vae}

    def words(self, merged: Node, text: str = "a red circle") -> tuple[Group, dict[str, Any]]:
        """As `prompt`, with the text encoder and the VAE of a merged checkpoint."""
        clip, vae = merged[CLIP_SLOT], merged[VAE_SLOT]
        yes = self.add("CLIPTextEncode", "Prompt", text=text, clip=clip)
        no = self.add("CLIPTextEncode", "Negative prompt", text="", clip=clip)
        size = self.add("EmptySD3LatentImage", width=SIZE_PX, height=SIZE_PX)
        note = "CLIP and VAE come out of the merge, as they do from a checkpoint loader."
        group = Group("The picture", note, [[yes, no], [size]])
        return group, {"positive": yes, "negative": no, "latent_image": size, "vae": vae}

    def image(
        self,
        model: Any,
        parts: dict[str, Any],
        prefix: str,
        steps: int = 12,
        cfg: float = 2.0,
        title: str = "Merge",
    ) -> list[Node]:
        """Sampler, decoder and the saved image."""
        inputs = {name: value for name, value in parts.items() if name != "vae"}
        fixed = {"seed": 7, "sampler_name": "euler", "scheduler": "simple"}
        sampler = self.add("KSampler", model=model, **inputs, **fixed, steps=steps, cfg=cfg)
        decoded = self.add("VAEDecode", samples=sampler, vae=parts["vae"])
        saved = self.add("SaveImage", title, images=decoded, filename_prefix=f"OrthoMerge/{prefix}")
        return [sampler, decoded, saved]

    def simple(
        self, name: str, picked: Node, note: str, mixer: Node, mix_note: str, **execute: Any
    ) -> None:
        """Models → table → merge → picture, in four groups."""
        group, parts = self.prompt()
        merged = self.add("OrthoMergeExecute", recipe=mixer, **execute)
        sampler, decoded, image = self.image(merged, parts, name)
        self.lay_out(
            [Group("1  Which models", note, [[picked]])],
            [Group("2  The mix", mix_note, [[mixer]]), group],
            [Group("3  Merge and look", LOOK, [[merged], [sampler, decoded], [image]])],
        )
