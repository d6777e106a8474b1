"""Stable Diffusion 3 and 3.5: an MMDiT of joint blocks, any width and depth."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from . import _components
from ._layers import TRANSFORMER

_PART = r"\.(weight|bias)$"


def _qkv(parts: tuple[str, str, str]) -> tuple[str, ...]:
    return tuple(rf"^transformer_blocks\.(\d+)\.{part}{_PART}" for part in parts)


_DIFFUSERS = DiffusersMap(
    marker=r"^transformer_blocks\.0\.norm1_context\.linear\.weight$",
    renames=(
        (r"^pos_embed\.pos_embed$", "pos_embed"),
        (r"^pos_embed\.proj\.", "x_embedder.proj."),
        (r"^time_text_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
        (r"^time_text_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
        (r"^time_text_embed\.text_embedder\.linear_1\.", "y_embedder.mlp.0."),
        (r"^time_text_embed\.text_embedder\.linear_2\.", "y_embedder.mlp.2."),
        (r"^proj_out\.", "final_layer.linear."),
        (r"^transformer_blocks\.(\d+)\.", r"joint_blocks.\1."),
    ),
    inner=(
        (r"\.norm1_context\.linear\.", ".context_block.adaLN_modulation.1."),
        (r"\.norm1\.linear\.", ".x_block.adaLN_modulation.1."),
        (r"\.attn\.to_out\.0\.", ".x_block.attn.proj."),
        (r"\.attn2\.to_out\.0\.", ".x_block.attn2.proj."),
        (r"\.attn\.to_add_out\.", ".context_block.attn.proj."),
        (r"\.attn\.norm_q\.", ".x_block.attn.ln_q."),
        (r"\.attn\.norm_k\.", ".x_block.attn.ln_k."),
        (r"\.attn2\.norm_q\.", ".x_block.attn2.ln_q."),
        (r"\.attn2\.norm_k\.", ".x_block.attn2.ln_k."),
        (r"\.attn\.norm_added_q\.", ".context_block.attn.ln_q."),
        (r"\.attn\.norm_added_k\.", ".context_block.attn.ln_k."),
        (r"\.ff\.net\.0\.proj\.", ".x_block.mlp.fc1."),
        (r"\.ff\.net\.2\.", ".x_block.mlp.fc2."),
        (r"\.ff_context\.net\.0\.proj\.", ".context_block.mlp.fc1."),
        (r"\.ff_context\.net\.2\.", ".context_block.mlp.fc2."),
    ),
    joins={
        r"joint_blocks.\1.x_block.attn.qkv.\2": _qkv((r"attn\.to_q", r"attn\.to_k", r"attn\.to_v")),
        r"joint_blocks.\1.x_block.attn2.qkv.\2": _qkv(
            (r"attn2\.to_q", r"attn2\.to_k", r"attn2\.to_v")
        ),
        r"joint_blocks.\1.context_block.attn.qkv.\2": _qkv(
            (r"attn\.add_q_proj", r"attn\.add_k_proj", r"attn\.add_v_proj")
        ),
    },
    swaps=(
        (rf"^norm_out\.linear{_PART}", r"final_layer.adaLN_modulation.1.\1"),
        (
            rf"^transformer_blocks\.({{last}})\.norm1_context\.linear{_PART}",
            r"joint_blocks.\1.context_block.adaLN_modulation.1.\2",
        ),
    ),
)

ARCHITECTURE = Architecture(
    name="sd3",
    label="Stable Diffusion 3 / 3.5",
    modelspec="stable-diffusion-v3-medium",
    modelspec_variants=(
        ("stable-diffusion-v3.5-medium", "joint_blocks.0.x_block.attn2.qkv.weight", None),
        ("stable-diffusion-v3.5-large", "joint_blocks.0.x_block.attn.qkv.weight", (7296, None)),
    ),
    markers={"joint_blocks.0.x_block.attn.qkv.weight": None, "x_embedder.proj.weight": None},
    blocks=(r"(?:^|\.)(joint_blocks\.\d+)\.", r"(?:^|\.)(context_processor\.layers\.\d+)\."),
    layer_types=(
        (r"ln_[qk]\.", "norm"),
        (r"context_block\.attn|x_block\.attn", "attention"),
        *TRANSFORMER,
    ),
    diffusers=_DIFFUSERS,
    axes=((r"^pos_embed$", (1, None, None)),),
    input_key="x_embedder.proj.weight",
    components=_components.SD3,
)
