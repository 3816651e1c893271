"""Localisation in scenes where the true pose is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from condense_nerfstudio.keypoints.localisation import LEAST_INLIERS, Intrinsics, locate

LENS = (-0.1, 0.02, 0.001, -0.002)
STRONG_LENS = (-0.25, 0.06, -0.002, 0.003)
DISTANCE = 4.0
SIZE = 2.0


def camera(lens: Sequence[float] = ()) -> Intrinsics:
    return Intrinsics(1024, 768, 800.0, 810.0, 515.0, 380.0, lens)


def box(count: int, seed: int = 0) -> np.ndarray:
    """Points in a cube of SIZE around the origin."""
    return np.random.default_rng(seed).uniform(-SIZE / 2, SIZE / 2, (count, 3))


def random_rotation(seed: int) -> Rotation:
    return Rotation.from_quat(np.random.default_rng(seed).normal(size=4))


def pose_towards(target: Sequence[float], seed: int = 0, distance: float = DISTANCE) -> np.ndarray:
    """Camera-to-world (OpenGL) of a camera that looks at a target from a random direction."""
    pose = np.eye(4)
    pose[:3, :3] = random_rotation(seed).as_matrix()
    pose[:3, 3] = np.asarray(target) + pose[:3, 2] * distance
    return pose


def seen(points: np.ndarray, pose: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Pixels of points, by the formulas of OpenCV's documentation."""
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    x, y = local[:, 0] / -local[:, 2], -local[:, 1] / -local[:, 2]
    k1, k2, p1, p2 = intrinsics.distortion or (0.0, 0.0, 0.0, 0.0)
    square = x**2 + y**2
    radial = 1 + k1 * square + k2 * square**2
    u = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x**2)
    v = y * radial + p1 * (square + 2 * y**2) + 2 * p2 * x * y
    return np.stack([intrinsics.fx * u + intrinsics.cx, intrinsics.fy * v + intrinsics.cy], axis=1)


def anywhere(count: int, seed: int = 0) -> np.ndarray:
    """Pixels all over the photograph."""
    return np.random.default_rng(1000 + seed).uniform(0, 1, (count, 2)) * (1024, 768)


def degrees(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two poses."""
    return float(np.degrees(Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lens", [(), LENS, STRONG_LENS])
def test_the_exact_pose_is_found(lens: Sequence[float], seed: int) -> None:
    points, pose = box(100, seed), pose_towards((0, 0, 0), seed)
    found = locate(points, seen(points, pose, camera(lens)), camera(lens))
    assert found is not None
    np.testing.assert_allclose(found.camera_to_world, pose, atol=1e-3)
    np.testing.assert_array_equal(found.inliers, np.arange(100))
    assert found.confidence > 0.99


@pytest.mark.parametrize("lens", [LENS, STRONG_LENS])
def test_pixels_without_the_lens_go_back_through_it(lens: Sequence[float]) -> None:
    points, pose = box(100), pose_towards((0, 0, 0))
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    plane = camera(lens).undistorted(seen(points, pose, camera(lens)))
    np.testing.assert_allclose(plane, local[:, :2] / -local[:, 2:] * (1, -1), atol=1e-4)
    assert camera(lens).undistorted(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("lens", [(), LENS])
def test_most_matches_may_be_wrong(lens: Sequence[float], seed: int) -> None:
    points, pose = box(200, seed), pose_towards((0, 0, 0), seed)
    pixels = seen(points, pose, camera(lens)) + np.random.default_rng(seed).normal(size=(200, 2))
    wrong = np.random.default_rng(seed).permutation(200)[:120]
    pixels[wrong] = anywhere(120, seed)
    found = locate(points, pixels, camera(lens))
    assert found is not None and found.confidence > 0.99
    assert degrees(found.camera_to_world, pose) < 0.5
    assert np.linalg.norm(found.camera_to_world[:3, 3] - pose[:3, 3]) < 0.01 * SIZE
    assert np.isin(found.inliers, wrong).mean() < 0.05
    assert len(found.inliers) > 0.9 * 80


@pytest.mark.parametrize("count", [8, 15, 50, 300])
def test_a_photograph_of_nowhere_is_not_located(count: int) -> None:
    for seed in range(20):
        found = locate(box(count, seed), anywhere(count, seed), camera())
        assert found is None or found.confidence < 0.5, seed


@pytest.mark.parametrize("spread", [400, 100])
def test_a_photograph_of_nowhere_with_one_textured_spot_is_not_located(spread: int) -> None:
    for seed in range(20):
        pixels = 400 + anywhere(200, seed) / (1024, 768) * spread
        found = locate(box(200, seed), pixels, camera())
        assert found is None or found.confidence < 0.5, seed


def test_too_few_matches_locate_nothing() -> None:
    pose = pose_towards((0, 0, 0))
    for count in range(LEAST_INLIERS):
        points = box(count)
        assert locate(points, seen(points, pose, camera()), camera()) is None
    points = box(LEAST_INLIERS)
    assert locate(points, seen(points, pose, camera()), camera()) is not None


def test_too_few_right_matches_locate_nothing() -> None:
    points, pose = box(30), pose_towards((0, 0, 0))
    pixels = seen(points, pose, camera())
    pixels[5:] = anywhere(25)
    found = locate(points, pixels, camera())
    assert found is None or found.confidence < 0.5


@pytest.mark.parametrize("count", [8, 9, 50])
@pytest.mark.parametrize("kind", ["line", "line, wrong", "one point", "one pixel", "both", "two points"])
def test_degenerate_matches_raise_nothing(kind: str, count: int) -> None:
    for seed in range(5):
        points, pixels = box(count, seed), anywhere(count, seed)
        if kind.startswith("line"):
            points = np.outer(points[:, 0], points[0])
        if kind == "line":
            pixels = seen(points, pose_towards((0, 0, 0), seed), camera())
        if kind in ("one point", "both"):
            points = np.ones_like(points)
        if kind in ("one pixel", "both"):
            pixels = np.full_like(pixels, 300.0)
        if kind == "two points":
            points = points[np.arange(count) % 2]
        found = locate(points, pixels, camera())
        assert found is None or np.isfinite(found.camera_to_world).all()


def test_points_on_a_plane_are_enough() -> None:
    points, pose = box(50) * (1, 1, 0), pose_towards((0, 0, 0), 3)
    found = locate(points, seen(points, pose, camera()), camera())
    assert found is not None
    np.testing.assert_allclose(found.camera_to_world, pose, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_unit_of_length_does_not_matter(scale: float) -> None:
    points, pose = box(100) * scale, pose_towards((0, 0, 0), distance=DISTANCE * scale)
    found = locate(points, seen(points, pose, camera(LENS)), camera(LENS))
    assert found is not None
    np.testing.assert_allclose(found.camera_to_world[:3, :3], pose[:3, :3], atol=1e-3)
    np.testing.assert_allclose(found.camera_to_world[:3, 3], pose[:3, 3], atol=1e-3 * scale)


@pytest.mark.parametrize(
    "centre, scale",
    [((1e4, 1e4, 1e4), 1.0), ((1e4, 0, 0), 1.0), ((-1e4, 1e4, 5e3), 1.0), ((1e5, 0, 0), 1.0), ((5e5, 5e6, 100), 100.0)],
    ids=["1e4", "1e4 along x", "1e4 all around", "1e5 along x", "UTM"],
)
def test_a_scene_far_from_the_origin_is_as_good(centre: tuple[float, float, float], scale: float) -> None:
    points, pose = box(100) * scale + centre, pose_towards(centre, distance=DISTANCE * scale)
    found = locate(points, seen(points, pose, camera()), camera())
    assert found is not None
    np.testing.assert_allclose(found.camera_to_world[:3, :3], pose[:3, :3], atol=1e-3)
    np.testing.assert_allclose(found.camera_to_world[:3, 3], pose[:3, 3], atol=1e-3 * scale)


def test_single_precision_is_enough_far_from_the_origin() -> None:
    points, pose = box(100) + 1e4, pose_towards((1e4, 1e4, 1e4))
    pixels = seen(points, pose, camera()).astype(np.float32)
    found = locate(points.astype(np.float32), pixels, camera())
    assert found is not None and degrees(found.camera_to_world, pose) < 0.05
    assert np.linalg.norm(found.camera_to_world[:3, 3] - pose[:3, 3]) < 0.005


def test_the_camera_looks_along_minus_z_with_y_up() -> None:
    points = box(100)
    pixels = np.stack([512 + 800 * points[:, 0] / (4 - points[:, 2]), 384 - 800 * points[:, 1] / (4 - points[:, 2])], 1)
    found = locate(points, pixels, Intrinsics(1024, 768, 800.0, 800.0, 512.0, 384.0))
    assert found is not None
    np.testing.assert_allclose(
        found.camera_to_world, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]], atol=1e-3
    )
    ahead_and_above = found.camera_to_world @ (0.0, 0.3, -2.0, 1.0)
    assert seen(ahead_and_above[None, :3], found.camera_to_world, camera())[0, 1] < 384
    above = pixels[:, 1] < 384
    np.testing.assert_array_equal((np.linalg.inv(found.camera_to_world)[1, :3] @ points.T) > 0, above)


def test_points_behind_the_camera_do_not_fit() -> None:
    points, pose = box(100), pose_towards((0, 0, 0))
    pixels = seen(points, pose, camera())
    points[60:] = 2 * pose[:3, 3] - points[60:]
    found = locate(points, pixels, camera())
    assert found is not None
    np.testing.assert_allclose(found.camera_to_world, pose, atol=1e-3)
    np.testing.assert_array_equal(found.inliers, np.arange(60))


def test_the_same_matches_give_the_same_pose() -> None:
    points, pose = box(200), pose_towards((0, 0, 0))
    pixels = seen(points, pose, camera(LENS)) + np.random.default_rng(0).normal(size=(200, 2))
    pixels[:120] = anywhere(120)
    first, second = (locate(points.copy(), pixels.copy(), camera(LENS)) for _ in range(2))
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.camera_to_world, second.camera_to_world)
    np.testing.assert_array_equal(first.inliers, second.inliers)
    assert first.confidence == second.confidence
