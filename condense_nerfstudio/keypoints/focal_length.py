"""Where a photograph was taken when its focal length is unknown too."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from condense_nerfstudio.keypoints.localisation import Intrinsics, Location, locate

TRIED = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
"""Focal lengths that are tried, in longer sides of the photograph: fields of view of 90 to 20 degrees."""
_REFINEMENTS = 2
_ONLY_FOCAL_LENGTH = (
    cv2.CALIB_USE_INTRINSIC_GUESS
    | cv2.CALIB_FIX_PRINCIPAL_POINT
    | cv2.CALIB_FIX_ASPECT_RATIO
    | cv2.CALIB_ZERO_TANGENT_DIST
    | cv2.CALIB_FIX_K1
    | cv2.CALIB_FIX_K2
    | cv2.CALIB_FIX_K3
)


def locate_uncalibrated(
    positions: Float[np.ndarray, "n 3"], pixels: Float[np.ndarray, "n 2"], width: int, height: int
) -> tuple[Location, Intrinsics] | None:
    """The pose and the focal length with which points are seen at pixels.

    The pose is found with each of a few focal lengths; from the matches that fit the best of them the focal length is
    calibrated (Zhang, PAMI 2000, with everything else fixed), and the pose found again.

    Args:
        positions: points in the world.
        pixels: where the photograph shows them, in continuous coordinates.
        width: of the photograph.
        height: of the photograph.

    Returns:
        The pose and the camera; None where no focal length lets enough matches agree on a pose.
    """
    best: tuple[Location, Intrinsics] | None = None
    for share in TRIED:
        best = _better(best, positions, pixels, _camera(share * max(width, height), width, height))
    for _ in range(_REFINEMENTS):
        if best is None:
            return None
        calibrated = _calibrated(positions, pixels, *best)
        best = _better(best, positions, pixels, calibrated)
    return best


def _camera(focal: float, width: int, height: int) -> Intrinsics:
    return Intrinsics(width, height, focal, focal, width / 2, height / 2)


def _better(
    best: tuple[Location, Intrinsics] | None,
    positions: Float[np.ndarray, "n 3"],
    pixels: Float[np.ndarray, "n 2"],
    camera: Intrinsics,
) -> tuple[Location, Intrinsics] | None:
    """Whichever pose more matches agree on; the new one if as many do."""
    found = locate(positions, pixels, camera)
    if found is None or (best is not None and len(found.inliers) < len(best[0].inliers)):
        return best
    return found, camera


def _calibrated(
    positions: Float[np.ndarray, "n 3"], pixels: Float[np.ndarray, "n 2"], location: Location, camera: Intrinsics
) -> Intrinsics:
    """The camera with the focal length that fits the matches best; the same one where that cannot be told."""
    points = positions[location.inliers].astype(np.float64)
    points = ((points - points.mean(axis=0)) / max(float(points.std()), 1e-12)).astype(np.float32)
    images = pixels[location.inliers].astype(np.float32)
    matrix = np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])
    size = (camera.width, camera.height)
    try:
        _, found, *_ = cv2.calibrateCamera([points], [images], size, matrix, np.zeros(5), flags=_ONLY_FOCAL_LENGTH)
    except cv2.error:  # points in a plane that faces the camera, for example
        return camera
    focal, longest = float(found[0, 0]), max(size)
    if not TRIED[0] / 2 * longest < focal < TRIED[-1] * 2 * longest:
        return camera
    return _camera(focal, *size)
