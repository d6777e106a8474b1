"""What the U-Nets of Stable Diffusion share."""

from __future__ import annotations

from collections.abc import Sequence

from ..architecture import DiffusersMap

BLOCKS = (r"(?:^|\.)((?:input|output)_blocks\.\d+)\.", r"(?:^|\.)(middle_block)\.")

LAYERS = (
    (r"emb_layers\.", "modulation"),
    (r"(?:in|out)_layers\.0\.|(?:^|\.)out\.0\.|\.norm\d?\.", "norm"),
    (r"\.attn[12]\.", "attention"),
    (r"\.ff\.", "mlp"),
    (r"time_embed\.|label_emb\.", "embedding"),
    (r"in_layers\.2\.|out_layers\.3\.|skip_connection\.|\.op\.|\.conv\.", "convolution"),
    (r"input_blocks\.0\.0\.|(?:^|\.)out\.2\.", "convolution"),
    (r"proj_(?:in|out)\.", "projection"),
)

_SKIP = (r"\.skip_connection\.weight$", (None, None, 1, 1))

AXES_CONVOLVED = (_SKIP, (r"\.proj_(?:in|out)\.weight$", (None, None, 1, 1)))
"""Axes where the attention's projections are convolutions: Stable Diffusion 1.x."""

AXES_LINEAR = (_SKIP, (r"\.proj_(?:in|out)\.weight$", (None, None)))
"""Axes where they are linear layers: Stable Diffusion 2.x and XL."""

VARIANTS = {
    9: "inpaint variant",
    8: "image-edit variant",
    5: "depth variant",
    7: "upscaler variant",
}

_RESNET = (
    (r"^((?:input|output)_blocks\.\d+\.\d+|middle_block\.\d+)\.norm1\.", r"\1.in_layers.0."),
    (r"^((?:input|output)_blocks\.\d+\.\d+|middle_block\.\d+)\.conv1\.", r"\1.in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"^((?:input|output)_blocks\.\d+\.\d+|middle_block\.\d+)\.norm2\.", r"\1.out_layers.0."),
    (r"^((?:input|output)_blocks\.\d+\.\d+|middle_block\.\d+)\.conv2\.", r"\1.out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)


def diffusers(levels: int, up_attention: Sequence[int]) -> DiffusersMap:
    """The naming for two residual blocks a level; `up_attention`: levels that have it going up.

    `down_blocks.L.resnets.I` is `input_blocks.(1+3L+I).0`, `up_blocks.L.resnets.I` is
    `output_blocks.(3L+I).0`; an upsampler is the last module of its output block.
    """
    renames = [
        (r"^conv_in\.", "input_blocks.0.0."),
        (r"^time_embedding\.linear_1\.", "time_embed.0."),
        (r"^time_embedding\.linear_2\.", "time_embed.2."),
        (r"^(?:add|class)_embedding\.linear_1\.", "label_emb.0.0."),
        (r"^(?:add|class)_embedding\.linear_2\.", "label_emb.0.2."),
        (r"^conv_norm_out\.", "out.0."),
        (r"^conv_out\.", "out.2."),
        (r"^mid_block\.resnets\.0\.", "middle_block.0."),
        (r"^mid_block\.attentions\.0\.", "middle_block.1."),
        (r"^mid_block\.resnets\.1\.", "middle_block.2."),
    ]
    for level in range(levels):
        for i in range(2):
            down = f"input_blocks.{1 + 3 * level + i}"
            renames.append((rf"^down_blocks\.{level}\.resnets\.{i}\.", f"{down}.0."))
            renames.append((rf"^down_blocks\.{level}\.attentions\.{i}\.", f"{down}.1."))
        op = f"input_blocks.{3 + 3 * level}.0.op."
        renames.append((rf"^down_blocks\.{level}\.downsamplers\.0\.conv\.", op))
        for i in range(3):
            up = f"output_blocks.{3 * level + i}"
            renames.append((rf"^up_blocks\.{level}\.resnets\.{i}\.", f"{up}.0."))
            renames.append((rf"^up_blocks\.{level}\.attentions\.{i}\.", f"{up}.1."))
        last = 2 if level in up_attention else 1
        conv = f"output_blocks.{3 * level + 2}.{last}.conv."
        renames.append((rf"^up_blocks\.{level}\.upsamplers\.0\.conv\.", conv))
    return DiffusersMap(
        marker=r"^down_blocks\.0\.resnets\.0\.conv1\.weight$", renames=renames, inner=_RESNET
    )
