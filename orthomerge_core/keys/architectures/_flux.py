"""What the Flux family shares: double and single blocks, and their diffusers names."""

from __future__ import annotations

from ._layers import TRANSFORMER

BLOCKS = (r"(?:^|\.)((?:double|single)_blocks\.\d+)\.",)

LAYERS = (
    (r"single_blocks\.\d+\.linear[12]\.", "attention+mlp"),
    (r"^distilled_guidance_layer\.norms\.", "norm"),
    (r"^distilled_guidance_layer\.", "modulation"),
    (r"(?:img|txt)_mod\.lin|modulation\.lin|_modulation(?:_img|_txt)?\.lin", "modulation"),
    *TRANSFORMER,
)

_DOUBLE = r"^transformer_blocks\.(\d+)\.attn\."
_SINGLE = r"^single_transformer_blocks\.(\d+)\."
_END = r"\.(weight|bias)$"

DOUBLE_JOINS = {
    r"double_blocks.\1.img_attn.qkv.\2": [f"{_DOUBLE}to_{x}{_END}" for x in "qkv"],
    r"double_blocks.\1.txt_attn.qkv.\2": [f"{_DOUBLE}add_{x}_proj{_END}" for x in "qkv"],
}
SINGLE_JOINS = {
    r"single_blocks.\1.linear1.\2": [
        *(rf"{_SINGLE}attn\.to_{x}{_END}" for x in "qkv"),
        rf"{_SINGLE}proj_mlp{_END}",
    ],
}
SWAPS = ((rf"^norm_out\.linear{_END}", r"final_layer.adaLN_modulation.1.\1"),)

OUTER = (
    (r"^x_embedder\.", "img_in."),
    (r"^context_embedder\.", "txt_in."),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^transformer_blocks\.(\d+)\.", r"double_blocks.\1."),
    (r"^single_transformer_blocks\.(\d+)\.", r"single_blocks.\1."),
)

INNER = (
    (r"^(double_blocks\.\d+)\.attn\.norm_q\.weight$", r"\1.img_attn.norm.query_norm.scale"),
    (r"^(double_blocks\.\d+)\.attn\.norm_k\.weight$", r"\1.img_attn.norm.key_norm.scale"),
    (r"^(double_blocks\.\d+)\.attn\.norm_added_q\.weight$", r"\1.txt_attn.norm.query_norm.scale"),
    (r"^(double_blocks\.\d+)\.attn\.norm_added_k\.weight$", r"\1.txt_attn.norm.key_norm.scale"),
    (r"^(double_blocks\.\d+)\.attn\.to_out\.0\.", r"\1.img_attn.proj."),
    (r"^(double_blocks\.\d+)\.attn\.to_add_out\.", r"\1.txt_attn.proj."),
    (r"^(single_blocks\.\d+)\.attn\.norm_q\.weight$", r"\1.norm.query_norm.scale"),
    (r"^(single_blocks\.\d+)\.attn\.norm_k\.weight$", r"\1.norm.key_norm.scale"),
    (r"^(double_blocks\.\d+)\.ff\.net\.0\.proj\.", r"\1.img_mlp.0."),
    (r"^(double_blocks\.\d+)\.ff\.net\.2\.", r"\1.img_mlp.2."),
    (r"^(double_blocks\.\d+)\.ff_context\.net\.0\.proj\.", r"\1.txt_mlp.0."),
    (r"^(double_blocks\.\d+)\.ff_context\.net\.2\.", r"\1.txt_mlp.2."),
    (r"^(single_blocks\.\d+)\.proj_out\.", r"\1.linear2."),
)

EMBEDDERS = (
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "vector_in.in_layer."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "vector_in.out_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_1\.", "guidance_in.in_layer."),
    (r"^time_text_embed\.guidance_embedder\.linear_2\.", "guidance_in.out_layer."),
)

MODULATIONS = (
    (r"^(double_blocks\.\d+)\.norm1\.linear\.", r"\1.img_mod.lin."),
    (r"^(double_blocks\.\d+)\.norm1_context\.linear\.", r"\1.txt_mod.lin."),
    (r"^(single_blocks\.\d+)\.norm\.linear\.", r"\1.modulation.lin."),
)
