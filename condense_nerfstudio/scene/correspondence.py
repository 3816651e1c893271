"""How well features find the same surface again in another view: the project's measure of consistency.

Everything happens in undistorted camera coordinates, so that no forward distortion model is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

DEPTH_TOLERANCE = 0.05


@dataclass
class PatchGrid:
    """The rays through the centres of a view's patches, row by row."""

    camera: Cameras
    """The view, one camera."""
    shape: tuple[int, int]
    """Rows and columns of patches."""
    rays: RayBundle
    """One ray a patch, of shape (rows * columns,)."""
    depth: Float[Tensor, " n"] | None
    """True distance of the surface along each ray in the scene's units, not a number where unknown; None where the
    capture has no depth."""

    @property
    def patch_pixels(self) -> float:
        """Longer side of a patch in the view's pixels."""
        rows, columns = self.shape
        return max(float(self.camera.height.item()) / rows, float(self.camera.width.item()) / columns)

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return float(self.camera.fx.item())


def patch_pixels(camera: Cameras, shape: tuple[int, int]) -> Float[Tensor, "n 2"]:
    """Row and column of every patch's centre in continuous pixel coordinates."""
    height, width = float(camera.height.item()), float(camera.width.item())
    rows = (torch.arange(shape[0], device=camera.device) + 0.5) / shape[0] * height
    columns = (torch.arange(shape[1], device=camera.device) + 0.5) / shape[1] * width
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)


def patch_grid(camera: Cameras, shape: tuple[int, int], z_depth: Float[Tensor, "h w"] | None = None) -> PatchGrid:
    """Rays through the centres of a view's patches.

    Args:
        camera: the view, of shape (1,).
        shape: rows and columns of patches.
        z_depth: depth along the optical axis in the scene's units at the camera's pixels, zero where unknown.
    """
    coords = patch_pixels(camera, shape)
    indices = torch.zeros((len(coords), 1), dtype=torch.long, device=camera.device)
    rays = camera.generate_rays(camera_indices=indices, coords=coords)
    depth = None
    if z_depth is not None:
        row = coords[:, 0].long().clamp(max=z_depth.shape[0] - 1)
        column = coords[:, 1].long().clamp(max=z_depth.shape[1] - 1)
        axis = -camera.camera_to_worlds[0, :, 2]
        depth = z_depth[row, column] / (rays.directions @ axis)
        depth = torch.where(depth > 0, depth, torch.nan)
    return PatchGrid(camera, shape, rays, depth)


def in_camera(camera: Cameras, points: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 3"]:
    """World points in a camera's frame, x right, y down, z forward."""
    pose = camera.camera_to_worlds[0]
    local = (points - pose[:, 3]) @ pose[:, :3]
    return local * local.new_tensor([1.0, -1.0, -1.0])


def normalised(camera: Cameras, points: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 2"]:
    """World points on a camera's undistorted image plane at distance one."""
    local = in_camera(camera, points)
    return local[..., :2] / local[..., 2:].clamp(min=1e-6)


def nearest_neighbours(a: Float[Tensor, "n c"], b: Float[Tensor, "m c"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
    """Index of each feature's nearest neighbour by cosine: of a's in b, and of b's in a."""
    similarity = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
    return similarity.argmax(dim=1), similarity.argmax(dim=0)


def share_by_depth(
    a: PatchGrid, features_a: Float[Tensor, "n c"], b: PatchGrid, features_b: Float[Tensor, "m c"]
) -> tuple[int, int]:
    """Counts the patches of one view that find their own surface in another, by known depth.

    A patch counts where its surface point is seen in the other view, no nearer surface in front of it. It is right
    where its nearest neighbour lies within one patch of the point's image.

    Returns:
        The patches that are right, and those that count.
    """
    assert a.depth is not None and b.depth is not None
    points = a.rays.origins + a.rays.directions * a.depth[:, None]
    target = normalised(b.camera, points)
    centres = normalised(b.camera, b.rays.origins + b.rays.directions)
    reach = b.patch_pixels / b.focal
    seen = _seen(b, points, target, centres, reach) & torch.isfinite(a.depth)
    forward, _ = nearest_neighbours(features_a, features_b)
    right = (centres[forward] - target).abs().amax(dim=-1) <= reach
    return int((right & seen).sum()), int(seen.sum())


def _seen(
    b: PatchGrid,
    points: Float[Tensor, "n 3"],
    target: Float[Tensor, "n 2"],
    centres: Float[Tensor, "m 2"],
    reach: float,
) -> Bool[Tensor, " n"]:
    """Whether points are in front of a view, in its picture, and not hidden."""
    distance, nearest = torch.cdist(target.nan_to_num(1e6), centres, p=float("inf")).min(dim=1)
    assert b.depth is not None
    expected = (points - b.rays.origins[0]).norm(dim=-1)
    visible = (expected - b.depth[nearest]).abs() <= DEPTH_TOLERANCE * expected
    return (in_camera(b.camera, points)[:, 2] > 0) & (distance <= reach / 2) & visible


def share_by_epipolar_line(
    a: PatchGrid, features_a: Float[Tensor, "n c"], b: PatchGrid, features_b: Float[Tensor, "m c"]
) -> tuple[int, int]:
    """Counts the mutual nearest neighbours that lie within one patch of the true epipolar line, by known poses.

    Returns:
        The matches that are right, and all mutual matches.
    """
    forward, backward = nearest_neighbours(features_a, features_b)
    everyone = torch.arange(len(forward), device=forward.device)
    mutual = backward[forward] == everyone
    matched = normalised(b.camera, (b.rays.origins + b.rays.directions)[forward])
    epipole = in_camera(b.camera, a.rays.origins)
    direction = in_camera(b.camera, a.rays.origins + a.rays.directions) - epipole
    line = torch.linalg.cross(epipole, direction)
    homogeneous = torch.cat([matched, torch.ones_like(matched[:, :1])], dim=-1)
    distance = (homogeneous * line).sum(dim=-1).abs() / line[:, :2].norm(dim=-1).clamp(min=1e-9)
    right = distance <= b.patch_pixels / b.focal
    return int((right & mutual).sum()), int(mutual.sum())


def viewing_angle(a: Cameras, b: Cameras) -> float:
    """Angle between two cameras' optical axes in degrees."""
    cosine = (a.camera_to_worlds[0, :, 2] * b.camera_to_worlds[0, :, 2]).sum().clamp(-1.0, 1.0)
    return float(torch.rad2deg(torch.acos(cosine)))
