"""What in an analysis a person should look at before merging, in full sentences, worst first."""

from __future__ import annotations

from ..analysis.derive import Derived
from ..analysis.result import Analysis
from ..optimize.proposal import Proposal

__all__ = ["suspicions"]

_LOW_COVERAGE_FRAC = 0.98
_FAR_FRAC = 0.5
_LONE_OUTLIER = 300.0
"""max |D| / rms of D; a normal distribution reaches 6, an ordinary fine-tune about 100."""

_OPPOSED = -0.5


def suspicions(analysis: Analysis, found: Derived, proposal: Proposal) -> list[str]:
    """Sentences about broken weights, foreign models, opposition, and the optimizer's warnings."""
    said = _broken(analysis, found)
    for i, name in enumerate(found.names):
        if found.relative_norm[i] > _FAR_FRAC:
            share = f"{100 * found.relative_norm[i]:.0f} %"
            said.append(
                f"{name} lies {share} of the base's norm away from it, which is more like another "
                "model than a fine-tune."
            )
        if found.outlier_ratio[i] > _LONE_OUTLIER:
            key = analysis.keys[int(analysis.max_abs[:, i].argmax())]
            said.append(
                f"{name} changes one weight of {key} by {found.outlier[i]:.3g}, "
                f"{found.outlier_ratio[i]:.0f} times its usual change."
            )
    said += _opposed(found)
    about = {"opposed", "reconstruction", "null"}
    return said + [w.text for w in proposal.warnings if w.kind in about]


def _broken(analysis: Analysis, found: Derived) -> list[str]:
    said = []
    if found.base_nonfinite:
        said.append(f"The base holds {found.base_nonfinite:,} values that are not finite.")
    for i, name in enumerate(found.names):
        if found.nonfinite[i]:
            held = int((analysis.nonfinite[:, i + 1] > 0).sum())
            tensors = f"{held} tensor" + ("" if held == 1 else "s")
            said.append(
                f"{name} holds {int(found.nonfinite[i]):,} values that are not finite, "
                f"in {tensors}; the base's stand in for those tensors in a merge."
            )
        if found.coverage_frac[i] < _LOW_COVERAGE_FRAC:
            share = f"{100 * found.coverage_frac[i]:.1f} %"
            said.append(f"{name} holds only {share} of the base's weights.")
    return said


def _opposed(found: Derived) -> list[str]:
    said = []
    for i, a in enumerate(found.names):
        for j in range(i):
            if found.cosine[i, j] < _OPPOSED:
                said.append(
                    f"{found.names[j]} and {a} pull against each other (cosine "
                    f"{found.cosine[i, j]:.2f}), so that a merge of both undoes much of either."
                )
    return said
