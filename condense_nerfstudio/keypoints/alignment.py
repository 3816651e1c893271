"""The similarity transform that lays one scene over another, from matches between their key points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from condense_nerfstudio.keypoints.confidence import LEAST_INLIERS, chance_of_fitting, confidence, on_a_line

REACH = 0.03
"""Distance up to which a match fits a transform, as a share of the size of the smaller scene."""

_SAMPLE = 3
_ITERATIONS = 4000
_BATCH = 500
_REFINEMENTS = 5
_MIRROR = np.array([-1.0, 1.0, 1.0])
_MIRRORED = 1.5
"""How many times as many matches must fit the mirrored scene for the transform not to be believed."""
_SCALES = (1e-4, 1e4)
"""Ratio of the scenes' sizes in which a transform is believed."""


@dataclass(frozen=True)
class Alignment:
    """How one scene lies over another."""

    a_to_b: Float[np.ndarray, "4 4"]
    """Rotation times scale, and translation."""
    scale: float
    inliers: Int[np.ndarray, " k"]
    """Which matches fit."""
    confidence: float
    """See :func:`confidence`."""


def align(a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]) -> Alignment | None:
    """The similarity transform from a's frame to b's, most of the matches being wrong perhaps.

    RANSAC over triples of matches, scored by how well matches fit (MSAC), then least squares over what fits. The same
    input gives the same answer.

    Args:
        a: points in one scene.
        b: the points that they match in the other.

    Returns:
        The transform; None where fewer than LEAST_INLIERS matches agree on one.
    """
    if len(a) < LEAST_INLIERS:
        return None
    a, b = a.astype(np.float64), b.astype(np.float64)
    fitted = _fitted(a, b)
    if fitted is None:
        return None
    transform, fits, reach = fitted
    scale = float(np.cbrt(np.linalg.det(transform[:3, :3])))
    # A wrong match ends somewhere on the other scene's surface, of about the square of its size.
    placed = a @ transform[:3, :3].T + transform[:3, 3]
    chance = chance_of_fitting(placed, b, reach, np.pi * REACH**2)
    sure = confidence(len(a), int(fits.sum()), _SAMPLE, chance)
    # Much of a scene lies on its own mirror image, turned the right way; the mirror image itself fits far better then.
    mirrored = _fitted(a * _MIRROR, b)
    if mirrored is not None and mirrored[1].sum() > _MIRRORED * fits.sum():
        sure = 0.0
    return Alignment(transform, scale, np.flatnonzero(fits), sure)


def _fitted(
    a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "4 4"], Bool[np.ndarray, " n"], float] | None:
    """The transform that most matches fit, which those are, and the distance within which they do."""
    size_a, size_b = extent(a), extent(b)
    transform = _ransac(a, b, size_a, size_b)
    for _ in range(_REFINEMENTS):
        if transform is None:
            return None
        fits = _errors(transform, a, b, size_a, size_b) <= REACH
        transform = similarity(a[fits], b[fits]) if fits.sum() >= LEAST_INLIERS else None
    if transform is None:
        return None
    fits = _errors(transform, a, b, size_a, size_b) <= REACH
    if fits.sum() < LEAST_INLIERS or on_a_line(b[fits]):
        return None
    scale = np.cbrt(np.abs(np.linalg.det(transform[:3, :3])))
    return transform, fits, REACH * float(min(size_b, scale * size_a))


def extent(points: Float[np.ndarray, "n 3"]) -> float:
    """Size of a set of points: the diagonal of the box from the 5th to the 95th percentile of each coordinate."""
    low, high = np.quantile(points, [0.05, 0.95], axis=0)
    return max(float(np.linalg.norm(high - low)), 1e-12)


def similarity(a: Float[np.ndarray, "*bs n 3"], b: Float[np.ndarray, "*bs n 3"]) -> Float[np.ndarray, "*bs 4 4"]:
    """Least-squares similarity transform from a to b (Umeyama, PAMI 1991, equations 40 to 42).

    Args:
        a: points, or batches of them.
        b: the points that they shall come to lie on.
    """
    mean_a, mean_b = a.mean(axis=-2, keepdims=True), b.mean(axis=-2, keepdims=True)
    centred_a, centred_b = a - mean_a, b - mean_b
    left, values, right = np.linalg.svd(np.swapaxes(centred_b, -1, -2) @ centred_a)
    signs = np.ones_like(values)
    signs[..., 2] = np.sign(np.linalg.det(left @ right))
    rotation = (left * signs[..., None, :]) @ right
    scale = (values * signs).sum(axis=-1) / np.maximum((centred_a**2).sum(axis=(-1, -2)), 1e-24)
    transform = np.zeros((*scale.shape, 4, 4))
    transform[..., :3, :3] = scale[..., None, None] * rotation
    transform[..., :3, 3] = mean_b[..., 0, :] - (transform[..., :3, :3] @ mean_a[..., 0, :, None])[..., 0]
    transform[..., 3, 3] = 1.0
    return transform


def _ransac(
    a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"], size_a: float, size_b: float
) -> Float[np.ndarray, "4 4"] | None:
    """The best of many transforms, each from three matches."""
    random = np.random.default_rng(0)
    best, least = None, np.inf
    for _ in range(_ITERATIONS // _BATCH):
        triples = random.integers(0, len(a), (_BATCH, _SAMPLE))
        transforms = similarity(a[triples], b[triples])
        scales = np.cbrt(np.abs(np.linalg.det(transforms[:, :3, :3]))) * (size_a / size_b)
        sane = (scales > _SCALES[0]) & (scales < _SCALES[1])
        if not sane.any():
            continue
        errors = _errors(transforms[sane], a, b, size_a, size_b)
        costs = (np.minimum(errors / REACH, 1.0) ** 2).sum(axis=1)
        if costs.min() < least:
            best, least = transforms[sane][costs.argmin()], costs.min()
    return best


def _errors(
    transform: Float[np.ndarray, "*bs 4 4"],
    a: Float[np.ndarray, "n 3"],
    b: Float[np.ndarray, "n 3"],
    size_a: float,
    size_b: float,
) -> Float[np.ndarray, "*bs n"]:
    """How far a's points come to lie from b's, as a share of the size of the smaller scene, in b's units."""
    linear, translation = transform[..., :3, :3], transform[..., None, :3, 3]
    moved = a @ np.swapaxes(linear, -1, -2) + translation
    scale = np.cbrt(np.abs(np.linalg.det(linear)))
    return np.linalg.norm(moved - b, axis=-1) / np.minimum(size_b, scale * size_a)[..., None]
