"""How much of a scene a photograph shows, and what that means where little is usual."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.keypoints import agreement
from condense_nerfstudio.keypoints.condensed_scene import LocalPoints
from condense_nerfstudio.keypoints.tracks import View

from .worlds import PIXEL, make_world, photograph_of


def wall(count: int = 60) -> tuple[LocalPoints, View]:
    """Points that face the cameras, and what the middle camera sees of them."""
    world = make_world(points=count, cameras=3)
    normals = np.tile([0.0, 0.0, 1.0], (count, 1))
    return LocalPoints(world.positions, normals, world.descriptors), photograph_of(world, 1)


def test_a_view_sees_points_where_its_camera_shows_them() -> None:
    points, view = wall()
    offsets = points.positions - view.centre
    expected = offsets[:, :2] * (1.0, -1.0) / -offsets[:, 2:] / PIXEL
    np.testing.assert_allclose(view.sight.images, expected, atol=1e-6)
    np.testing.assert_array_equal(view.sight.descriptors, view.descriptors)
    assert view.sight.focal_length == pytest.approx(1 / PIXEL)


def test_what_lies_behind_a_camera_is_not_seen() -> None:
    points, view = wall()
    turned = np.c_[np.diag([-1.0, 1.0, -1.0]), view.centre]
    behind = View(**{**vars(view), "camera_to_world": turned})
    assert len(behind.sight.images) == 0
    assert agreement.of_photograph(points, behind.sight, turned) == 0.0


def test_the_share_that_is_found_counts() -> None:
    points, view = wall()
    assert agreement.of_photograph(points, view.sight, view.camera_to_world) == pytest.approx(1.0)
    half = points.descriptors.copy()
    half[::2] = np.roll(half[::2], 7, axis=1)
    found = agreement.of_photograph(
        LocalPoints(points.positions, points.normals, half), view.sight, view.camera_to_world
    )
    assert 0.3 < found <= 0.5
    away = LocalPoints(points.positions, -points.normals, points.descriptors)
    assert agreement.of_photograph(away, view.sight, view.camera_to_world) == 0.0


def lacking(scene: LocalPoints, lost: np.ndarray) -> LocalPoints:
    """The scene with other descriptors at some of its points."""
    descriptors = scene.descriptors.copy()
    descriptors[lost] = np.roll(descriptors[lost], 7, axis=1)
    return LocalPoints(scene.positions, scene.normals, descriptors)


def test_what_differs_in_one_place_tells_more_than_what_is_missed_here_and_there() -> None:
    points, _ = wall(count=400)
    here_and_there = np.random.default_rng(0).permutation(400)[:120]
    in_one_place = np.argsort(points.positions[:, 0])[:120]
    same = agreement.of_scenes(points, points, np.eye(4))
    missed = agreement.of_scenes(points, lacking(points, here_and_there), np.eye(4))
    differing = agreement.of_scenes(points, lacking(points, in_one_place), np.eye(4))
    assert same == pytest.approx(1.0)
    assert missed > 0.5 > agreement.SAME_PLACE > differing


def test_captures_that_overlap_in_part_agree_where_they_overlap() -> None:
    points, _ = wall(count=400)
    left = np.argsort(points.positions[:, 0])[:200]
    part = LocalPoints(points.positions[left], points.normals[left], points.descriptors[left])
    assert agreement.of_scenes(points, part, np.eye(4)) > 0.8
    away = np.eye(4)
    away[:3, 3] = 1e3
    assert agreement.of_scenes(points, part, away) == 0.0


def test_what_is_usual_is_the_measure() -> None:
    assert agreement.as_usual(0.2, 0.4) == pytest.approx(0.5)
    assert agreement.as_usual(0.5, 0.4) == 1.0
    assert agreement.as_usual(0.07, None) == pytest.approx(0.1)
    assert agreement.as_usual(0.05, 0.0) == pytest.approx(0.5)  # nothing is not usual
