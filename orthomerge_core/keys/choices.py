"""The choices that a set leaves open: the source of the VAE and the prediction type."""

from __future__ import annotations

from typing import Any

from .aligned import AlignedModel, AlignedSet
from .components import VAE
from .lora.source import LoraSource
from .markers import marker_words
from .prediction import prediction_of

__all__ = ["choices", "has_no_prediction", "prediction_words"]


def choices(aligned: AlignedSet) -> dict[str, Any]:
    """The components of the base, who holds a whole VAE of its shape, and who predicts what.

    Returns `components` (names, the diffusion model first), `vae` (names of models, in order) and
    `predictions` (name → words, the base first; LoRAs and models that are no files have none).
    Reads nothing but what the set has already read of the headers.
    """
    wanted = aligned.keys_of(VAE)
    holders = [m.name for m in aligned.models if wanted and all(m.has(key) for key in wanted)]
    speakers = [m for m in (aligned.base, *aligned.models) if not has_no_prediction(m)]
    return {
        "components": list(aligned.components),
        "vae": holders,
        "predictions": {model.name: prediction_words(model) for model in speakers},
    }


def has_no_prediction(model: AlignedModel) -> bool:
    """Whether the prediction type of a model is unknown: a LoRA, or a model without a file."""
    return isinstance(model.source, LoraSource) or model.source.is_live


def prediction_words(model: AlignedModel) -> str:
    """What a model predicts: "epsilon", "v" or "v+ztsnr", or its other markers in words."""
    known = set(model.markers) <= {"v_pred", "ztsnr"}
    return prediction_of(model.markers) if known else marker_words(model.markers)
