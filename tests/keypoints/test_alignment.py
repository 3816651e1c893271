"""Alignment of scenes whose true transform is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from condense_nerfstudio.keypoints.alignment import LEAST_INLIERS, align, extent, similarity

SCALES = (0.01, 0.3, 1.0, 100.0)


def box(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3))


def random_rotation(seed: int) -> Rotation:
    return Rotation.from_quat(np.random.default_rng(seed).normal(size=4))


def random_similarity(scale: float, seed: int = 0) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = scale * random_rotation(seed).as_matrix()
    transform[:3, 3] = np.random.default_rng(seed).uniform(-10, 10, 3) * scale
    return transform


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    return points @ transform[:3, :3].T + transform[:3, 3]


def squares(transform: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    return float(((moved(a, transform) - b) ** 2).sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", SCALES)
def test_the_exact_transform_is_found(scale: float, seed: int) -> None:
    a, expected = box(100, seed), random_similarity(scale, seed)
    found = align(a, moved(a, expected))
    assert found is not None and found.confidence > 0.99
    np.testing.assert_allclose(found.a_to_b, expected, rtol=1e-6, atol=1e-6 * scale)
    assert found.scale == pytest.approx(scale)
    np.testing.assert_array_equal(found.inliers, np.arange(100))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", SCALES)
def test_half_of_the_matches_may_be_wrong(scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, expected = box(200, seed), random_similarity(scale, seed)
    size = extent(a) * scale
    b = moved(a, expected) + random.normal(size=a.shape) * 0.003 * size
    wrong = random.permutation(200)[:100]
    b[wrong] = b[random.permutation(wrong)]
    found = align(a, b)
    assert found is not None and found.confidence > 0.99
    between = found.a_to_b[:3, :3].T @ expected[:3, :3] / (found.scale * scale)
    assert np.degrees(Rotation.from_matrix(between).magnitude()) < 0.5
    assert found.scale == pytest.approx(scale, rel=0.01)
    assert np.linalg.norm(moved(a, found.a_to_b) - moved(a, expected), axis=1).max() < 0.01 * size
    assert np.isin(found.inliers, wrong).mean() < 0.05 and len(found.inliers) > 90


def test_scenes_far_from_their_origins_are_aligned() -> None:
    a, expected = box(100) + 1e4, random_similarity(0.3)
    b = moved(a, expected) - 1e4
    found = align(a.astype(np.float32), b.astype(np.float32))
    assert found is not None and found.scale == pytest.approx(0.3, rel=1e-3)
    assert np.linalg.norm(moved(a, found.a_to_b) - b, axis=1).max() < 0.01


@pytest.mark.parametrize("count", [60, 300])
def test_a_mirrored_scene_is_not_aligned(count: int) -> None:
    a = box(count)
    found = align(a, a * (-1, 1, 1))
    assert found is None or found.confidence < 0.5


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 0.01), (10, 1, 1)], ids=["cube", "plane", "corridor"])
@pytest.mark.parametrize("count", [8, 20, 100])
def test_another_place_is_not_aligned(count: int, shape: tuple[float, float, float]) -> None:
    for seed in range(20):
        found = align(box(count, seed) * shape, box(count, 100 + seed) * shape)
        assert found is None or found.confidence < 0.5, seed


def test_too_few_matches_align_nothing() -> None:
    for count in range(LEAST_INLIERS):
        assert align(box(count), box(count)) is None
    assert align(box(LEAST_INLIERS), box(LEAST_INLIERS)) is not None


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("place", [0.0, 0.1, 1e4])
@pytest.mark.parametrize("kind", ["a", "b", "both", "line", "two points"])
def test_degenerate_matches_raise_nothing(kind: str, place: float) -> None:
    a, b = box(20), box(20, 1)
    if kind in ("a", "both"):
        a = np.full_like(a, place)
    if kind in ("b", "both"):
        b = np.full_like(b, place)
    if kind == "line":
        a = b = np.outer(a[:, 0], b[0]) + place
    if kind == "two points":
        a, b = a[np.arange(20) % 2] + place, b[np.arange(20) % 2]
    found = align(a, b)
    assert found is None or np.isfinite(found.a_to_b).all()
    if kind in ("a", "b", "both"):
        assert found is None or found.confidence < 0.5


def test_the_same_matches_give_the_same_transform() -> None:
    a, b = box(100), box(100)
    b[:60] = box(60, 1)
    first, second = align(a, b), align(a.copy(), b.copy())
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.a_to_b, second.a_to_b)
    np.testing.assert_array_equal(first.inliers, second.inliers)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mirrored", [False, True])
def test_no_other_similarity_has_smaller_squares(mirrored: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    a = box(10, seed) * (1, 0.5, 0.2)
    b = moved(a * (1, 1, -1 if mirrored else 1), random_similarity(2.0, seed)) + random.normal(size=a.shape) * 0.1
    best = similarity(a, b)
    least = squares(best, a, b)
    assert np.linalg.det(best[:3, :3]) > 0
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(100):
            other = best.copy()
            other[:3, :3] = Rotation.from_rotvec(random.normal(size=3) * size).as_matrix() @ best[:3, :3]
            other[:3, :3] *= np.exp(random.normal() * size)
            other[:3, 3] += random.normal(size=3) * size
            assert squares(other, a, b) >= least


def test_the_result_is_a_similarity() -> None:
    transform = similarity(box(10), box(10, 1))
    scale = np.cbrt(np.linalg.det(transform[:3, :3]))
    np.testing.assert_allclose(transform[:3, :3] @ transform[:3, :3].T, scale**2 * np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(transform[3], [0, 0, 0, 1])


@pytest.mark.parametrize("count", [3, 10])
def test_a_batch_is_the_same_as_one_by_one(count: int) -> None:
    a, b = box(24 * count).reshape(4, 6, count, 3), box(24 * count, 1).reshape(4, 6, count, 3)
    together = similarity(a, b)
    assert together.shape == (4, 6, 4, 4)
    for i, j in np.ndindex(4, 6):
        np.testing.assert_allclose(together[i, j], similarity(a[i, j], b[i, j]), atol=1e-9)


def test_stray_points_do_not_change_the_extent() -> None:
    points = box(1000)
    stray = points.copy()
    stray[:10] *= 1e3
    assert extent(points) == pytest.approx(1.8 * np.sqrt(3), rel=0.05)
    assert extent(stray) == pytest.approx(extent(points), rel=0.05)
    assert extent(np.ones((5, 3))) > 0
