"""Where a photograph was taken, from matches between its key points and those of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from condense_nerfstudio.keypoints.confidence import LEAST_INLIERS, chance_of_fitting, confidence, on_a_line

REACH_PIXELS = 8.0
"""Distance from a point's image, in pixels of a photograph of 1024 pixels, up to which a match fits a pose."""

_SAMPLE = 3
_ITERATIONS = 10000
_REFINEMENTS = 2
_NO_LENS = np.zeros(4)
_TO_OPENGL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera with OpenCV's lens distortion, in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Sequence[float] = ()
    """k1, k2, p1, p2 (k3, ...), in OpenCV's order; empty for none."""

    def undistorted(self, pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels on the image plane at distance one, without the lens; x right, y down.

        Args:
            pixels: continuous coordinates, pixel centres at +0.5 (as the principal point).
        """
        if not len(pixels):
            return np.empty((0, 2))
        matrix = np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])
        lens = np.array(self.distortion, dtype=np.float64) if len(self.distortion) else _NO_LENS
        return cv2.undistortPoints(pixels.astype(np.float64)[:, None], matrix, lens)[:, 0]


@dataclass(frozen=True)
class Location:
    """A photograph's place in a scene."""

    camera_to_world: Float[np.ndarray, "4 4"]
    """In the points' frame; the camera looks along -z, with y up (OpenGL, as in transforms.json)."""
    inliers: Int[np.ndarray, " k"]
    """Which matches fit."""
    confidence: float
    """See :func:`confidence`."""


def locate(
    positions: Float[np.ndarray, "n 3"], pixels: Float[np.ndarray, "n 2"], intrinsics: Intrinsics
) -> Location | None:
    """The pose from which points are seen at pixels, most of the matches being wrong perhaps.

    Perspective-n-point with OpenCV's USAC (MAGSAC++ scores), then least squares over what fits.

    Args:
        positions: points in the world.
        pixels: where the photograph shows them, in continuous coordinates.
        intrinsics: of the photograph's camera.

    Returns:
        The pose; None where fewer than LEAST_INLIERS matches agree on one.
    """
    if len(positions) < LEAST_INLIERS:
        return None
    # In units of a pixel, or nearly: MAGSAC's tables are made for errors of that size.
    focal = max(intrinsics.fx, intrinsics.fy)
    images = intrinsics.undistorted(pixels) * focal
    camera = np.diag([focal, focal, 1.0])
    # Centred and of unit size: coordinates of a capture can lie far from its origin.
    points = positions.astype(np.float64)
    centre = points.mean(axis=0)
    size = max(float((points - centre).std()), 1e-12)
    points = (points - centre) / size
    reach = REACH_PIXELS / 1024.0 * max(intrinsics.width, intrinsics.height)
    found = _ransac(points, images, camera, reach)
    if found is None:
        return None
    rotation, translation = found
    fits = _fitting(points, images, rotation, translation, focal, reach)
    for _ in range(_REFINEMENTS):
        if fits.sum() < LEAST_INLIERS:
            return None
        rotation, translation = cv2.solvePnPRefineLM(
            points[fits], images[fits], camera, _NO_LENS, rotation.copy(), translation.copy()
        )
        fits = _fitting(points, images, rotation, translation, focal, reach)
    if fits.sum() < LEAST_INLIERS or on_a_line(points[fits]):
        return None
    to_camera, _ = cv2.Rodrigues(rotation)
    pose = np.eye(4)
    pose[:3, :3] = to_camera.T @ _TO_OPENGL
    pose[:3, 3] = -to_camera.T @ translation[:, 0] * size + centre
    evenly = np.pi * reach**2 / (intrinsics.width * intrinsics.height)
    chance = chance_of_fitting(_projected(points, rotation, translation, focal), images, reach, evenly)
    sure = confidence(len(points), int(fits.sum()), _SAMPLE, chance)
    return Location(pose, np.flatnonzero(fits), sure)


def _ransac(
    points: Float[np.ndarray, "n 3"],
    images: Float[np.ndarray, "n 2"],
    camera: Float[np.ndarray, "3 3"],
    reach: float,
) -> tuple[Float[np.ndarray, "3 1"], Float[np.ndarray, "3 1"]] | None:
    """Rotation vector and translation, world to OpenCV's camera; the same for the same input."""
    options: Any = cv2.UsacParams()
    options.threshold = reach
    options.maxIterations = _ITERATIONS
    options.confidence = 0.9999
    options.randomGeneratorState = 0
    options.score = cv2.SCORE_METHOD_MAGSAC
    options.sampler = cv2.SAMPLING_UNIFORM
    options.loMethod = cv2.LOCAL_OPTIM_SIGMA
    try:
        found, _, rotation, translation, _ = cv2.solvePnPRansac(points, images, camera, _NO_LENS, params=options)
    except cv2.error:  # points on one line, for example
        return None
    return (rotation, translation) if found and np.isfinite(rotation).all() and np.isfinite(translation).all() else None


def _fitting(
    points: Float[np.ndarray, "n 3"],
    images: Float[np.ndarray, "n 2"],
    rotation: Float[np.ndarray, "3 1"],
    translation: Float[np.ndarray, "3 1"],
    focal: float,
    reach: float,
) -> Bool[np.ndarray, " n"]:
    """Which points lie in front of the camera and near their image."""
    return np.linalg.norm(_projected(points, rotation, translation, focal) - images, axis=1) <= reach


def _projected(
    points: Float[np.ndarray, "n 3"],
    rotation: Float[np.ndarray, "3 1"],
    translation: Float[np.ndarray, "3 1"],
    focal: float,
) -> Float[np.ndarray, "n 2"]:
    """Where a camera shows points; infinitely far away for those behind it."""
    to_camera, _ = cv2.Rodrigues(rotation)
    local = points @ to_camera.T + translation[:, 0]
    ahead = local[:, 2:] > 1e-6
    return np.where(ahead, focal * local[:, :2] / np.where(ahead, local[:, 2:], 1.0), np.inf)
