"""How checkpoints store their text encoders and VAEs."""

from __future__ import annotations

from ..components import VAE, Component

# Old files of SD 1.x lack `text_model.`; ComfyUI and A1111 put it back when they load one.
_CLIP = ((r"^(?=(?:embeddings|encoder|final_layer_norm)\.)", "text_model."),)

LDM_VAE = Component(VAE, ("first_stage_model.", "vae."))
COMFY_VAE = Component(VAE, ("vae.", "first_stage_model."))

SD1 = (
    Component("text_encoder.l", ("cond_stage_model.transformer.", "cond_stage_model."), _CLIP),
    LDM_VAE,
)
SD2 = (
    Component("text_encoder.h", ("cond_stage_model.model.", "conditioner.embedders.0.model.")),
    LDM_VAE,
)
SDXL = (
    Component("text_encoder.l", ("conditioner.embedders.0.transformer.",), _CLIP),
    Component("text_encoder.g", ("conditioner.embedders.1.model.",)),
    LDM_VAE,
)
SDXL_REFINER = (Component("text_encoder.g", ("conditioner.embedders.0.model.",)), LDM_VAE)
SD3 = (
    Component("text_encoder.l", ("text_encoders.clip_l.transformer.", "text_encoders.clip_l.")),
    Component("text_encoder.g", ("text_encoders.clip_g.transformer.", "text_encoders.clip_g.")),
    Component("text_encoder.t5", ("text_encoders.t5xxl.transformer.", "text_encoders.t5xxl.")),
    LDM_VAE,
)
FLUX = (
    Component("text_encoder.l", ("text_encoders.clip_l.transformer.", "text_encoders.clip_l.")),
    Component("text_encoder.t5", ("text_encoders.t5xxl.transformer.", "text_encoders.t5xxl.")),
    COMFY_VAE,
)
CASCADE = (
    Component("text_encoder.g", ("text_encoder.transformer.", "text_encoder.")),
    COMFY_VAE,
)
