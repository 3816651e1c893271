"""Poses of photographs whose focal length nobody knows."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.keypoints.focal_length import TRIED, locate_uncalibrated
from condense_nerfstudio.keypoints.localisation import Intrinsics

from .test_localisation import anywhere, box, degrees, pose_towards, seen


@pytest.mark.parametrize("focal", [450.0, 900.0, 1500.0, 2500.0])
def test_the_focal_length_is_found_among_wrong_matches(focal: float) -> None:
    camera = Intrinsics(1024, 768, focal, focal, 512.0, 384.0)
    points, pose = box(80), pose_towards((0.0, 0.0, 0.0), 1, distance=focal / 250)
    pixels = seen(points, pose, camera) + np.random.default_rng(0).normal(0, 0.5, (80, 2))
    found = locate_uncalibrated(np.concatenate([points, box(60, 5)]), np.concatenate([pixels, anywhere(60)]), 1024, 768)
    assert found is not None
    location, told = found
    assert told.fx == told.fy == pytest.approx(focal, rel=0.03) and (told.cx, told.cy) == (512.0, 384.0)
    assert len(location.inliers) >= 75 and location.confidence > 0.999
    assert degrees(location.camera_to_world, pose) < 0.5


def test_a_wall_seen_from_the_front_keeps_one_of_the_focal_lengths_that_are_tried() -> None:
    """Distance and focal length cannot be told apart there; something finite comes back all the same."""
    points = box(60) * (1.0, 1.0, 0.0)
    pose = np.eye(4)
    pose[2, 3] = 3.0
    found = locate_uncalibrated(
        points, seen(points, pose, Intrinsics(1024, 768, 800.0, 800.0, 512.0, 384.0)), 1024, 768
    )
    assert found is not None and len(found[0].inliers) == 60
    assert TRIED[0] / 2 * 1024 < found[1].fx < TRIED[-1] * 2 * 1024 and np.isfinite(found[0].camera_to_world).all()


def test_nothing_is_found_among_wrong_matches_alone() -> None:
    found = locate_uncalibrated(box(100, 1), anywhere(100, 2), 1024, 768)
    assert found is None or found[0].confidence < 0.5
    assert locate_uncalibrated(box(5), anywhere(5), 1024, 768) is None
