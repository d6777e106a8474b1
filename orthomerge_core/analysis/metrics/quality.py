"""Quality: how concentrated and how lasting a delta is. Range [0, 1]; high is good."""

from __future__ import annotations

import math

__all__ = ["grade", "quality"]


def quality(effective_rank: float, snr: float, survival: float, outlier: float) -> float:
    """0.40·focus + 0.40·min(1, log10(SNR)/2) + bonus − penalty, clamped to 0..1.

    focus = 1 − effective rank; bonus = min(0.2, max(0, (survival − 30)/200)), survival in percent;
    penalty = min(0.15, max(0, (outlier − 5)/50)), outlier = max |δ|. NaN without a spectrum.
    """
    if math.isnan(effective_rank) or math.isnan(snr):
        return float("nan")
    focus = 1.0 - effective_rank
    signal = min(1.0, math.log10(snr) / 2.0) if snr > 0.0 else -math.inf
    bonus = min(0.2, max(0.0, (survival - 30.0) / 200.0))
    penalty = min(0.15, max(0.0, (outlier - 5.0) / 50.0))
    return min(1.0, max(0.0, 0.4 * focus + 0.4 * signal + bonus - penalty))


def grade(value: float) -> str:
    """A+ above 0.80, A above 0.65, B above 0.50, C above 0.35, else D; "n/a" for NaN."""
    if math.isnan(value):
        return "n/a"
    for least, letter in ((0.80, "A+"), (0.65, "A"), (0.50, "B"), (0.35, "C")):
        if value > least:
            return letter
    return "D"
