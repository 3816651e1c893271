"""How sure one can be that matches agree on a pose because it is right, and not by chance."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

LEAST_INLIERS = 8
"""Matches that must agree on a pose or transform; fewer agree by chance too often."""

_MOST_PAIRED = 500
_LEAST_SPAN = 1e-3


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


def among(confidence: float, tries: int) -> float:
    """Confidence in the best of several poses: false alarms add up.

    Args:
        confidence: in this pose, as if it were the only one that was tried.
        tries: how many were.
    """
    return max(0.0, 1.0 - tries * (1.0 - confidence))


def chance_of_fitting(
    expected: Float[np.ndarray, "n d"], found: Float[np.ndarray, "n d"], reach: float, least: float
) -> float:
    """Probability that a wrong match fits a given pose: that anything matched lies near where anything is expected.

    Counted over all pairs of matches, so that it is high where a pose lays the whole scene onto one spot, or where
    everything that was matched lies on one.

    Args:
        expected: where the pose puts the matched points.
        found: what they were matched with.
        reach: distance within which a match fits.
        least: the probability if things were spread evenly; the result is no smaller.
    """
    step = -(-len(expected) // _MOST_PAIRED)
    gaps = np.linalg.norm(expected[::step, None] - found[None, ::step], axis=2)
    near = gaps <= reach
    count = len(near)
    pairs = count * (count - 1)
    return float(min(max((near.sum() - np.trace(near)) / max(pairs, 1), least), 1.0))


def on_a_line(points: Float[np.ndarray, "n 3"]) -> bool:
    """Whether points lie on a line or in one spot, so that a rotation about it cannot be known."""
    spans = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spans[1] <= _LEAST_SPAN * spans[0])


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
