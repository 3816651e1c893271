"""The consistency measure on a plane seen by two cameras, where every correspondence is known."""

from __future__ import annotations

import torch
from nerfstudio.cameras.cameras import Cameras, CameraType

from condense_nerfstudio.scene.correspondence import (
    PatchGrid,
    patch_grid,
    share_by_depth,
    share_by_epipolar_line,
    viewing_angle,
)

PLANE_DEPTH = 4.0


def _camera(shift: float, k1: float = 0.0) -> Cameras:
    """Looks along -z from (shift, 0, 0)."""
    pose = torch.eye(4)[:3][None].clone()
    pose[0, 0, 3] = shift
    return Cameras(
        pose, fx=100.0, fy=100.0, cx=64.0, cy=48.0, width=128, height=96, camera_type=CameraType.PERSPECTIVE,
        distortion_params=torch.tensor([k1, 0, 0, 0, 0, 0]),
    )  # fmt: skip


def _grid(shift: float, k1: float = 0.0) -> PatchGrid:
    return patch_grid(_camera(shift, k1), (12, 16), torch.full((96, 128), PLANE_DEPTH))


def _surface_features(grid: PatchGrid) -> torch.Tensor:
    """A smooth, injective feature of the surface point that each patch sees."""
    assert grid.depth is not None
    points = grid.rays.origins + grid.rays.directions * grid.depth[:, None]
    angles = points[:, :2, None] * torch.tensor([0.5, 1.0, 2.0, 4.0])
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


def test_rays_reach_the_plane() -> None:
    grid = _grid(0.3, k1=-0.1)
    assert grid.depth is not None
    points = grid.rays.origins + grid.rays.directions * grid.depth[:, None]
    torch.testing.assert_close(points[:, 2], torch.full((192,), -PLANE_DEPTH), atol=1e-3, rtol=0)


def test_features_of_the_surface_are_all_found_again() -> None:
    for k1 in (0.0, -0.1):
        a, b = _grid(0.0, k1), _grid(0.5, k1)
        right, total = share_by_depth(a, _surface_features(a), b, _surface_features(b))
        assert right == total and 100 < total < 192, "part of the plane leaves the picture"
        right, total = share_by_epipolar_line(a, _surface_features(a), b, _surface_features(b))
        assert right > 0.95 * total > 50


def test_random_features_are_found_by_chance_only() -> None:
    torch.manual_seed(0)
    a, b = _grid(0.0), _grid(0.5)
    right, total = share_by_depth(a, torch.randn(192, 8), b, torch.randn(192, 8))
    assert right < 0.15 * total
    right, total = share_by_epipolar_line(a, torch.randn(192, 8), b, torch.randn(192, 8))
    assert right < 0.5 * total


def test_features_that_follow_the_picture_instead_of_the_surface_are_wrong() -> None:
    a, b = _grid(0.0), _grid(0.8)
    by_pixel = _surface_features(a)
    right, total = share_by_depth(a, by_pixel, b, by_pixel)
    assert right == 0 < total


def test_hidden_surfaces_do_not_count() -> None:
    a, b = _grid(0.0), patch_grid(_camera(0.5), (12, 16), torch.full((96, 128), PLANE_DEPTH / 2))
    assert share_by_depth(a, _surface_features(a), b, _surface_features(b))[1] == 0


def test_unknown_depth_does_not_count() -> None:
    a, b = patch_grid(_camera(0.0), (12, 16), torch.zeros(96, 128)), _grid(0.5)
    assert share_by_depth(a, torch.randn(192, 4), b, torch.randn(192, 4)) == (0, 0)


def test_viewing_angle_of_parallel_cameras_is_zero() -> None:
    assert viewing_angle(_camera(0.0), _camera(1.0)) < 0.1
