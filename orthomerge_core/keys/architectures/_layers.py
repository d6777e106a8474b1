"""Layer-type patterns that many architectures share; each architecture puts its own before them."""

from __future__ import annotations

MODULATION = (
    r"(?:^|\.)(?:(?:img|txt|single|double)_mod|mod|mod[XCF]+|mod_[xy]|modulation)(?:\.|$)"
    r"|(?:^|\.)ada(?:LN|ln)\w*(?:\.|$)|adaln_single\.|(?:^|\.)(?:t_block|tproj)\."
    r"|_modulation(?:_img|_txt)?\.|emb_layers\.|scale_shift_table|norm_out\.linear"
    r"|(?:^|\.)norm1(?:_context)?\.linear\.|(?:^|\.)mapper(?:_sca|_crp)?\."
)
EMBEDDING = (
    r"embed|(?:^|\.)(?:first|last|tmlp|txtmlp|patchify_proj|caption_projection)\."
    r"|(?:^|\.)(?:img|txt|time|time_r|vector|guidance|byt5|vision|text)_in(?:_patch)?\.|label_emb"
    r"|pad_token|padding_tokens|pos_frequencies|register_tokens|positional_encoding|cond_seq_linear|init_x_linear"
    r"|time_(?:text|projection)|(?:^|\.)(?:img|text|time)_emb(?:edding)?\."
)
NORM = (
    r"norm[^.]*(?:\.\d+)?\.(?:weight|bias|scale|gamma|beta)$|(?:^|\.)norms\."
    r"|(?:^|\.)(?:ln|layernorm|layer_norm|norm)[^.]*\.|(?:^|\.)ln_[a-z0-9]+$|_ln\."
)
ATTENTION = (
    r"attn|attention|(?:^|\.)(?:qkv|to_[qkv]|to_out|[qkvo]_proj)\.|in_proj_"
    r"|injector\.\d+\.[qkvo]\."
)
MLP = (
    r"mlp|(?:^|[._])ffn?(?:_\w+)?\.|experts\.|param_generator|feed_forward|(?:^|\.)fc[12]\."
    r"|channelwise"
)
CONVOLUTION = (
    r"conv|(?:^|\.)cond_encoder\.|depthwise|skip_connection|(?:down|up)s(?:ampl|cal)|(?:^|\.)op\."
)
PROJECTION = (
    r"proj|(?:^|\.)(?:final_?\w*|skip_linear|out|head|clf|linear\w*|last_layer|lm_head)(?:\.|$)"
    r"|_mapper\.|(?:^|\.)(?:in|out)_layer\."
)

TRANSFORMER = (
    (MODULATION, "modulation"),
    (r"embedder\.|embedding\.", "embedding"),
    (NORM, "norm"),
    (EMBEDDING, "embedding"),
    (ATTENTION, "attention"),
    (MLP, "mlp"),
    (CONVOLUTION, "convolution"),
    (PROJECTION, "projection"),
)
"""For transformers; first match wins."""
