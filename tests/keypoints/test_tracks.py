"""Tracks: points are found where several views agree, where they are, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import KDTree

from condense_nerfstudio.keypoints.config import CondensationConfig
from condense_nerfstudio.keypoints.descriptors import mean_descriptors
from condense_nerfstudio.keypoints.tracks import NO_DETECTION, Tracks, View, find_tracks

from .worlds import PIXEL, World, make_world, photograph_of

CONFIG = CondensationConfig()


def found_points(tracks: Tracks, world: World) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each track from the nearest true point, and which that is."""
    distance, nearest = KDTree(world.positions).query(tracks.positions)
    return np.asarray(distance), np.asarray(nearest)


def test_points_that_all_views_detect_are_found_where_they_are() -> None:
    world = make_world()
    tracks = find_tracks([photograph_of(world, c) for c in range(6)], CONFIG)
    distance, nearest = found_points(tracks, world)
    assert set(nearest) == set(range(60)) and distance.max() < 1e-9
    assert (tracks.counts == 6).all() and (tracks.support == nearest[:, None]).all()
    np.testing.assert_allclose(tracks.scores, np.linspace(0.9, 0.3, 60)[nearest])
    np.testing.assert_allclose(tracks.pixels, PIXEL * np.linalg.norm(world.positions, axis=1)[nearest], rtol=0.1)


def test_triangulation_makes_up_for_a_field_that_is_off() -> None:
    world = make_world()
    views = [photograph_of(world, c, pixel_noise=0.5, depth_noise=0.01) for c in range(6)]
    tracks = find_tracks(views, CONFIG)
    alone = np.abs(
        np.concatenate(
            [np.linalg.norm(v.bearings * v.distances[:, None] + v.centre - world.positions, axis=1) for v in views]
        )
    )
    distance, nearest = found_points(tracks, world)
    assert len(set(nearest)) > 50
    assert np.median(distance) < np.median(alone) / 3


def test_what_fewer_than_three_views_detect_dies_out() -> None:
    world = make_world()
    lonely = np.arange(0, 60, 3)
    others = np.setdiff1d(np.arange(60), lonely)
    views = [photograph_of(world, c, None if c < 2 else others) for c in range(6)]
    _, nearest = found_points(find_tracks(views, CONFIG), world)
    assert set(nearest) == set(others)


def test_detections_that_look_otherwise_do_not_support_a_point() -> None:
    world = make_world()
    views = [photograph_of(world, c) for c in range(6)]
    strange = [replace(view, descriptors=np.roll(view.descriptors, 1, axis=0)) for view in views[3:]]
    tracks = find_tracks([*views[:3], *strange], CONFIG)
    assert len(tracks) and (tracks.counts == 3).all()
    assert (
        (tracks.support[:, :3] != NO_DETECTION).all(axis=1) | (tracks.support[:, 3:] != NO_DETECTION).all(axis=1)
    ).all()


def test_a_view_in_which_the_surface_is_elsewhere_does_not_support_a_point() -> None:
    world = make_world()
    views = [photograph_of(world, c) for c in range(6)]
    views[0] = replace(views[0], distances=views[0].distances * 0.8)
    tracks = find_tracks(views, CONFIG)
    assert (tracks.support[:, 0] == NO_DETECTION).all() and (tracks.counts == 5).all()


@pytest.mark.parametrize("fault", ["no surface", "uncertain surface"])
def test_detections_without_a_sure_surface_are_no_candidates(fault: str) -> None:
    world = make_world()
    views = [photograph_of(world, c) for c in range(6)]
    broken = [
        replace(v, distances=v.distances * np.nan) if fault == "no surface" else replace(v, spreads=v.distances)
        for v in views
    ]
    assert len(find_tracks(broken, CONFIG)) == 0


def test_views_without_detections_and_no_views_at_all_are_fine() -> None:
    world = make_world()
    empty = photograph_of(world, 3, np.empty(0, dtype=int))
    tracks = find_tracks([*(photograph_of(world, c) for c in range(3)), empty], CONFIG)
    assert len(tracks) and (tracks.support[:, 3] == NO_DETECTION).all()
    assert len(find_tracks([empty, empty, empty], CONFIG)) == 0


def test_progress_is_told_once_a_view_and_round() -> None:
    world, calls = make_world(), []
    find_tracks([photograph_of(world, c) for c in range(4)], CONFIG, lambda: calls.append(1))
    assert len(calls) == 4 * len(CONFIG.search_pixels)


def test_one_wrong_descriptor_does_not_spoil_the_mean() -> None:
    world = make_world(points=1)
    views = [photograph_of(world, c) for c in range(5)]
    wrong = np.roll(world.descriptors, 7, axis=1)
    views[2] = View(**{**vars(views[2]), "descriptors": wrong})
    tracks = Tracks(world.positions, np.zeros((1, 5), dtype=np.int32), np.ones(1), np.ones(1), np.ones(1))
    mean = mean_descriptors(tracks, views)
    plain = (4 * world.descriptors + wrong) / np.linalg.norm(4 * world.descriptors + wrong)
    assert np.linalg.norm(mean) == pytest.approx(1.0, abs=1e-5)
    assert (mean * world.descriptors).sum() > max(0.99, (plain * world.descriptors).sum())
