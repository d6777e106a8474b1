"""AuraFlow (and Pony v7): four double layers, then single ones."""

from __future__ import annotations

from ..architecture import Architecture, DiffusersMap
from ._layers import TRANSFORMER


def _double() -> list[tuple[str, str]]:
    at = r"^joint_transformer_blocks\.(\d+)\."
    to = r"double_layers.\1."
    rules = [(rf"{at}attn\.to_{x}\.", rf"{to}attn.w2{x}.") for x in "qkv"]
    rules += [(rf"{at}attn\.add_{x}_proj\.", rf"{to}attn.w1{x}.") for x in "qkv"]
    return [
        *rules,
        (rf"{at}attn\.to_out\.0\.", f"{to}attn.w2o."),
        (rf"{at}attn\.to_add_out\.", f"{to}attn.w1o."),
        (rf"{at}ff\.linear_([12])\.", rf"{to}mlpX.c_fc\2."),
        (rf"{at}ff\.out_projection\.", f"{to}mlpX.c_proj."),
        (rf"{at}ff_context\.linear_([12])\.", rf"{to}mlpC.c_fc\2."),
        (rf"{at}ff_context\.out_projection\.", f"{to}mlpC.c_proj."),
        (rf"{at}norm1\.linear\.", f"{to}modX.1."),
        (rf"{at}norm1_context\.linear\.", f"{to}modC.1."),
    ]


def _single() -> list[tuple[str, str]]:
    at = r"^single_transformer_blocks\.(\d+)\."
    to = r"single_layers.\1."
    return [
        *((rf"{at}attn\.to_{x}\.", rf"{to}attn.w1{x}.") for x in "qkv"),
        (rf"{at}attn\.to_out\.0\.", f"{to}attn.w1o."),
        (rf"{at}ff\.linear_([12])\.", rf"{to}mlp.c_fc\2."),
        (rf"{at}ff\.out_projection\.", f"{to}mlp.c_proj."),
        (rf"{at}norm1\.linear\.", f"{to}modCX.1."),
    ]


_DIFFUSERS = DiffusersMap(
    marker=r"^joint_transformer_blocks\.0\.attn\.add_q_proj\.weight$",
    renames=(
        (r"^pos_embed\.pos_embed$", "positional_encoding"),
        (r"^pos_embed\.proj\.", "init_x_linear."),
        (r"^time_step_proj\.linear_1\.", "t_embedder.mlp.0."),
        (r"^time_step_proj\.linear_2\.", "t_embedder.mlp.2."),
        (r"^context_embedder\.", "cond_seq_linear."),
        (r"^proj_out\.", "final_linear."),
        *_double(),
        *_single(),
    ),
    swaps=((r"^norm_out\.linear\.weight$", "modF.1.weight"),),
)

ARCHITECTURE = Architecture(
    name="auraflow",
    label="AuraFlow",
    modelspec="auraflow-v1",
    markers={"double_layers.0.attn.w1q.weight": None, "cond_seq_linear.weight": None},
    blocks=(r"(?:^|\.)((?:double|single)_layers\.\d+)\.",),
    layer_types=TRANSFORMER,
    diffusers=_DIFFUSERS,
    axes=((r"^(?:positional_encoding|register_tokens)$", (1, None, None)),),
    input_key="init_x_linear.weight",
)
