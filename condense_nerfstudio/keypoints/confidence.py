"""How sure one can be that matches agree on a pose because it is right, and not by chance."""

from __future__ import annotations

import math


def confidence(matches: int, inliers: int, sample: int, chance: float) -> float:
    """One minus the number of false alarms, in 0..1.

    The a-contrario argument (Moisan and Stival, IJCV 2004, section 3): among wrong matches, the expected number of
    poses that some `sample` of them define and that this many others fit by chance is
    (matches - sample) * C(matches, inliers) * C(inliers, sample) * chance^(inliers - sample).

    Args:
        matches: all of them.
        inliers: those that fit the pose.
        sample: matches that define a pose.
        chance: probability that a wrong match fits a given pose.
    """
    if inliers <= sample:
        return 0.0
    log_alarms = (
        math.log(matches - sample)
        + _log_choose(matches, inliers)
        + _log_choose(inliers, sample)
        + (inliers - sample) * math.log(chance)
    )
    return 1.0 - min(1.0, math.exp(min(log_alarms, 0.0)))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
