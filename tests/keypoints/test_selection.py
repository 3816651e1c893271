"""Choosing points by score and place."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.keypoints.selection import best_without_crowds, suppress_near


def scattered(count: int, seed: int = 0, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, scores of which some are equal, and radii."""
    random = np.random.default_rng(seed)
    scores, radii = random.integers(0, 50, count) / 50, random.uniform(0.0, 0.4, count)
    return random.uniform(-1, 1, (count, 3)).astype(dtype), scores.astype(dtype), radii.astype(dtype)


def spot(count: int, place: float = 0.0) -> np.ndarray:
    """Points that nearly coincide."""
    return place + np.random.default_rng(0).uniform(-1e-3, 1e-3, (count, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(5))
def test_no_kept_point_lies_near_a_better_one(seed: int, dtype: type) -> None:
    positions, scores, radii = scattered(300, seed, dtype)
    kept = suppress_near(positions, scores, radii)
    distances = np.linalg.norm(positions[kept][:, None] - positions[kept], axis=-1)
    later = np.triu(np.ones_like(distances, dtype=bool), k=1)
    assert (distances > radii[kept][:, None])[later].all()
    assert len(set(kept)) == len(kept) > 10


@pytest.mark.parametrize("seed", range(5))
def test_what_is_dropped_lies_near_a_better_point_that_stays(seed: int) -> None:
    positions, scores, radii = scattered(300, seed)
    kept = suppress_near(positions, scores, radii)
    for i in np.setdiff1d(np.arange(300), kept):
        near = np.linalg.norm(positions[kept] - positions[i], axis=1) <= radii[kept]
        assert (near & (scores[kept] >= scores[i])).any()


def test_the_best_stays_and_comes_first() -> None:
    positions, scores, radii = scattered(300)
    scores[123] = 2.0
    kept = suppress_near(positions, scores, radii)
    assert kept[0] == 123 and (np.diff(scores[kept]) <= 0).all()


def test_of_points_in_one_place_the_best_stays() -> None:
    kept = suppress_near(np.ones((5, 3)), np.array([0.1, 0.4, 0.9, 0.2, 0.3]), np.zeros(5))
    np.testing.assert_array_equal(kept, [2])


def test_a_point_suppresses_within_its_own_radius_only() -> None:
    positions = np.array([[0.0, 0, 0], [1, 0, 0]])
    kept = suppress_near(positions, np.array([0.9, 0.8]), np.array([0.5, 2.0]))
    np.testing.assert_array_equal(kept, [0, 1])
    kept = suppress_near(positions, np.array([0.8, 0.9]), np.array([0.5, 2.0]))
    np.testing.assert_array_equal(kept, [1])


def test_a_suppressed_point_suppresses_nothing() -> None:
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    kept = suppress_near(positions, np.array([0.9, 0.8, 0.7]), np.full(3, 1.5))
    np.testing.assert_array_equal(kept, [0, 2])


def test_of_no_points_none_is_chosen() -> None:
    none = np.empty((0, 3)), np.empty(0)
    assert suppress_near(*none, np.empty(0)).shape == (0,)
    assert best_without_crowds(*none, 5, 1.0, 2).shape == (0,)


@pytest.mark.parametrize("count", [50, 51, 1000])
def test_all_are_chosen_where_there_are_no_more(count: int) -> None:
    positions, scores, _ = scattered(50)
    chosen = best_without_crowds(positions, scores, count, 10.0, 1)
    assert sorted(chosen) == list(range(50)) and (np.diff(scores[chosen]) <= 0).all()


@pytest.mark.parametrize("most", [1, 3, 8])
def test_one_spot_does_not_take_all(most: int) -> None:
    positions = np.concatenate([spot(50), np.arange(1, 51)[:, None] * np.ones(3)])
    scores = np.linspace(1, 0, 100)
    chosen = best_without_crowds(positions, scores, 20, 0.1, most)
    np.testing.assert_array_equal(chosen, [*range(most), *range(50, 70 - most)])


def test_crowded_points_fill_up_what_is_missing() -> None:
    positions = np.concatenate([spot(10), spot(10, 5.0)])
    scores = np.linspace(1, 0, 20)
    np.testing.assert_array_equal(best_without_crowds(positions, scores, 6, 0.1, 2), [0, 1, 2, 3, 10, 11])


@pytest.mark.parametrize("seed", range(5))
def test_a_point_is_chosen_while_few_better_ones_lie_around_it(seed: int) -> None:
    positions, scores, _ = scattered(400, seed)
    chosen = best_without_crowds(positions, scores, 60, 0.5, 3)
    assert len(set(chosen)) == len(chosen) == 60 and (np.diff(scores[chosen]) <= 0).all()
    for rank, i in enumerate(chosen):
        assert (np.linalg.norm(positions[chosen[:rank]] - positions[i], axis=1) <= 0.5).sum() < 3


@pytest.mark.parametrize("most", [1, 2, 4])
def test_fewer_than_most_better_ones_lie_around_any_chosen_point(most: int) -> None:
    positions, scores, _ = scattered(2000)
    chosen = best_without_crowds(positions, scores, 40, 0.3, most)
    distances = np.linalg.norm(positions[chosen][:, None] - positions[chosen], axis=-1)
    assert np.tril(distances <= 0.3, -1).sum(axis=1).max() < most  # the better ones stand before


def test_without_crowds_the_best_are_chosen() -> None:
    positions, scores, _ = scattered(400)
    chosen = best_without_crowds(positions, scores, 60, 0.0, 1)
    np.testing.assert_array_equal(chosen, np.argsort(-scores, kind="stable")[:60])


def test_none_are_chosen_where_none_are_asked_for() -> None:
    positions, scores, _ = scattered(20)
    assert len(best_without_crowds(positions, scores, 0, 0.1, 2)) == 0
