"""The prediction type of a merge's result, and the marker tensors that declare it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import CompatibilityError, OrthoMergeError
from ...keys.aligned import AlignedModel, AlignedSet
from ...keys.choices import has_no_prediction, prediction_words
from ...keys.markers import prediction
from ...keys.prediction import MARKERS_OF
from ...recipe.model import BASE

__all__ = ["Markers", "settle_markers"]

_CHOOSE = (
    "Choose what the result predicts: base, epsilon, v, v+ztsnr, or the name of a model "
    "(`prediction` of the mixer and of a recipe, --prediction in a shell)."
)


@dataclass(frozen=True)
class Markers:
    """`dropped`: markers of the base that the result does not hold. `added`: tensors that it holds
    in their place. `words`: what the result predicts ("epsilon", "v+ztsnr", …)."""

    dropped: tuple[str, ...] = ()
    added: Mapping[str, Tensor] = field(default_factory=dict)
    words: str = "epsilon"


def settle_markers(
    choice: str | None,
    aligned: AlignedSet,
    models: Iterable[AlignedModel],
    problems: list[OrthoMergeError],
) -> Markers:
    """The markers of the result.

    Without a choice they are the base's, and models that disagree with it are a problem. LoRAs and
    models that are no files have no markers and agree with anything: chosen, they mean the base's.
    """
    base = aligned.base
    unchanged = Markers(words=prediction_words(base))
    if choice is None:
        others = {m.name: m for m in models if not has_no_prediction(m)}
        odd = [m for m in others.values() if prediction(m.markers) != prediction(base.markers)]
        if odd:
            said = ", ".join(
                [
                    f"base: {prediction_words(base)}",
                    *(f"{m.name}: {prediction_words(m)}" for m in odd),
                ]
            )
            what = f"the models do not predict the same ({said})"
            problems.append(CompatibilityError(what, fix=_CHOOSE))
        return unchanged
    if choice == BASE:
        return unchanged
    if choice in MARKERS_OF:
        return _asked(choice, aligned, unchanged, problems)
    model = aligned.model(choice)
    if has_no_prediction(model) or prediction(model.markers) == prediction(base.markers):
        return unchanged
    added = {name: model.source.read_raw(key) for name, key in model.markers.items()}
    return Markers(tuple(base.markers), added, prediction_words(model))


def _asked(
    choice: str, aligned: AlignedSet, unchanged: Markers, problems: list[OrthoMergeError]
) -> Markers:
    if unchanged.words == choice:
        return unchanged
    architecture = aligned.architecture
    if not architecture.marks_prediction and architecture.name != "generic":
        what = f'prediction "{choice}" cannot be asked for: a file of {architecture.label} has no '
        problems.append(
            CompatibilityError(what + "marker that says it", fix="Set prediction to base.")
        )
        return unchanged
    added = {name: torch.zeros(0) for name in MARKERS_OF[choice]}
    return Markers(tuple(aligned.base.markers), added, choice)
