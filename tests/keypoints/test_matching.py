"""Matching by descriptors alone."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.keypoints.matching import MAX_RATIO, match

from .scenes import unit_vectors


def turned(angles: list[float]) -> np.ndarray:
    """Unit vectors in a plane, at angles in degrees."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def noisy(vectors: np.ndarray, noise: float, seed: int = 1) -> np.ndarray:
    moved = vectors + np.random.default_rng(seed).normal(size=vectors.shape) * noise
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_shuffled_descriptors_find_themselves(dtype: type) -> None:
    random = np.random.default_rng(0)
    a, order = unit_vectors(random, 200, 64).astype(dtype), random.permutation(200)
    pairs = match(a, a[order])
    assert len(pairs) == 200
    np.testing.assert_array_equal(order[pairs[:, 1]], pairs[:, 0])


def test_float16_matches_as_well_as_float32() -> None:
    a = unit_vectors(np.random.default_rng(0), 100, 64)
    b = noisy(a, 0.02)
    exact = {tuple(pair) for pair in match(a, b)}
    assert {tuple(pair) for pair in match(a.astype(np.float16), b.astype(np.float16))} == exact
    assert {tuple(pair) for pair in match(a.astype(np.float16), b.astype(np.float32))} == exact


def test_only_mutual_neighbours_match() -> None:
    pairs = match(turned([0, 20]), turned([9, 180]), max_ratio=1.0)
    np.testing.assert_array_equal(pairs, [[0, 0]])


@pytest.mark.parametrize("swapped", [False, True])
def test_an_ambiguous_match_is_dropped(swapped: bool) -> None:
    one, two = turned([0, 90]), turned([-10, 10.2, 90])
    a, b = (two, one) if swapped else (one, two)
    np.testing.assert_array_equal(match(a, b), [[2, 1]] if swapped else [[1, 2]])
    assert len(match(a, b, max_ratio=1.0)) == 2


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("vector", [turned([0.0]), unit_vectors(np.random.default_rng(0), 1, 64)])
def test_a_descriptor_that_stands_there_twice_is_ambiguous(vector: np.ndarray, swapped: bool) -> None:
    a, b = vector, np.concatenate([vector, vector])
    assert len(match(b, a) if swapped else match(a, b)) == 0


@pytest.mark.parametrize("nearest", [9.0, 10.0])
def test_the_ratio_is_one_of_distances(nearest: float) -> None:
    a, b = turned([0]), turned([-nearest, 10.0])
    ratio = np.sin(np.radians(nearest / 2)) / np.sin(np.radians(5.0))
    assert len(match(a, b, max_ratio=ratio * 1.001)) == 1
    assert len(match(a, b, max_ratio=ratio * 0.999)) == 0


def test_every_index_stands_in_one_pair_at_most() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        a, b = unit_vectors(random, 80, 3), unit_vectors(random, 50, 3)
        pairs = match(a, b, max_ratio=1.0)
        assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs) > 0
        assert (pairs >= 0).all() and (pairs < [80, 50]).all()


def test_the_pairs_are_those_of_a_search_one_by_one() -> None:
    random = np.random.default_rng(0)
    a, b = unit_vectors(random, 60, 8), unit_vectors(random, 40, 8)
    distances = np.linalg.norm(a[:, None] - b, axis=-1)
    expected = set()
    for i, j in np.ndindex(distances.shape):
        others = np.concatenate([np.delete(distances[i], j), np.delete(distances[:, j], i)])
        if distances[i, j] <= MAX_RATIO * others.min():
            expected.add((i, j))
    assert {tuple(pair) for pair in match(a, b)} == expected and len(expected) > 5


def test_both_ways_give_the_same_pairs() -> None:
    random = np.random.default_rng(0)
    a, b = unit_vectors(random, 60, 8), unit_vectors(random, 40, 8)
    np.testing.assert_array_equal(np.sort(match(a, b), axis=0), np.sort(match(b, a)[:, ::-1], axis=0))


def test_the_most_similar_pair_comes_first() -> None:
    a = unit_vectors(np.random.default_rng(0), 100, 16)
    b = noisy(a, 0.1)
    pairs = match(a, b)
    similarity = (a[pairs[:, 0]] * b[pairs[:, 1]]).sum(axis=1)
    assert len(pairs) > 50 and (np.diff(similarity) < 1e-6).all()


@pytest.mark.parametrize("sizes", [(0, 0), (0, 5), (5, 0)])
def test_nothing_matches_with_an_empty_set(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    pairs = match(unit_vectors(random, sizes[0], 4), unit_vectors(random, sizes[1], 4))
    assert pairs.shape == (0, 2) and pairs.dtype == np.int64


def test_a_single_descriptor_matches_what_is_near() -> None:
    np.testing.assert_array_equal(match(turned([0]), turned([5])), [[0, 0]])
    np.testing.assert_array_equal(match(turned([0]), turned([5, 90, 180])), [[0, 0]])
    np.testing.assert_array_equal(match(turned([5, 90, 180]), turned([0])), [[0, 0]])
    assert len(match(turned([0]), turned([180]))) == 0
