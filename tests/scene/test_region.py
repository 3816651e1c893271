"""The connected region that answers: its box, its peak, and what stray points cannot do."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.scene.region import answering_region, typical_gap


def wall(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points on a wall, and the relevancy of a picture that hangs on it."""
    positions = np.random.default_rng(seed).uniform([0, 0, 0], [4, 3, 0.01], (4000, 3))
    picture = (positions[:, 0] > 1) & (positions[:, 0] < 2) & (positions[:, 1] > 1) & (positions[:, 1] < 1.5)
    return positions, np.where(picture, 0.7, 0.1)


def test_the_region_is_the_picture() -> None:
    positions, relevancy = wall()
    region = answering_region(positions, relevancy, 0.5)
    assert region is not None
    np.testing.assert_allclose(region.box[:, :2], [[1, 1], [2, 1.5]], atol=0.05)
    np.testing.assert_allclose(region.centroid[:2], [1.5, 1.25], atol=0.05)
    np.testing.assert_allclose(region.size[:2], [1, 0.5], atol=0.1)
    assert len(region.indices) == (relevancy > 0.5).sum() and region.score == 0.7


def test_a_stray_point_with_the_highest_relevancy_does_not_win() -> None:
    positions, relevancy = wall()
    corner = int(np.argmax(positions[:, 0] + positions[:, 1]))
    relevancy[corner] = 1.0
    region = answering_region(positions, relevancy, 0.5)
    assert region is not None and corner not in region.indices and region.score == 0.7


def test_of_two_regions_the_larger_one_wins_if_both_answer_alike() -> None:
    positions, relevancy = wall()
    small = (positions[:, 0] > 3) & (positions[:, 0] < 3.3) & (positions[:, 1] < 0.3)
    relevancy[small] = 0.7
    region = answering_region(positions, relevancy, 0.5)
    assert region is not None and not small[region.indices].any()


@pytest.mark.parametrize("points", [0, 1, 2])
def test_nothing_connected_is_no_region(points: int) -> None:
    positions, relevancy = wall()
    relevancy[:] = 0.1
    relevancy[:points] = 0.9
    assert answering_region(positions, relevancy, 0.5) is None
    assert answering_region(positions[:points], relevancy[:points], 0.5) is None


def test_the_typical_gap_is_the_distance_of_neighbours() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), axis=-1).reshape(-1, 3)
    assert typical_gap(grid) == 1.0 and typical_gap(grid[:1]) == 0.0
