"""What benchmarks/keypoints.py measures on two halves of a capture; docs/key_points.md explains each figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from halves import Half
from scipy.spatial import KDTree

from condense_nerfstudio.keypoints.alignment import align, extent
from condense_nerfstudio.keypoints.localisation import locate
from condense_nerfstudio.keypoints.matching import match
from condense_nerfstudio.keypoints.storage import as_files
from condense_nerfstudio.keypoints.tracks import View, find_tracks
from condense_nerfstudio.scene.condensation import choose
from condense_nerfstudio.scene.correspondence import in_camera
from condense_nerfstudio.scene.point_looks import bundle
from condense_nerfstudio.scene.posed_scene import refined_camera
from condense_nerfstudio.scene.ray_answers import look_along

NEAR = 0.01
"""A point is found again within this share of the scene's size."""
SURE = 0.99
"""Confidence from which a pose is believed."""


def repeatability(a: Half, b: Half) -> dict[str, dict[str, float]]:
    """Share of points found again in the other half, of key points and of what a user would try first."""
    kinds: dict[str, Callable[[Half, Half], np.ndarray]] = {
        "key points": lambda half, other: half.scene.points.positions,
        "key points, scored by the detector": lambda half, other: _scored_by_detector(half),
        "random surface points": lambda half, other: _random_surface(half),
        "one photograph's detections": _one_photograph,
    }
    size = extent(np.concatenate([a.scene.points.positions, b.scene.points.positions]))
    result = {}
    for name, kind in kinds.items():
        own, others = kind(a, b), kind(b, a)
        shares = [_found_again(own, others, NEAR * size, b), _found_again(others, own, NEAR * size, a)]
        result[name] = {key: float(np.mean([share[key] for share in shares])) for key in shares[0]}
    return result


def _found_again(points: np.ndarray, others: np.ndarray, reach: float, other: Half) -> dict[str, float]:
    """Share of points with one of the others near; of all, and of those that the other half could have found."""
    again = KDTree(others).query(points)[0] <= reach
    possible = views_that_see(other, points) >= other.options.min_views
    return {
        "all": float(again.mean()),
        "common": float(again[possible].mean()) if possible.any() else 0.0,
        "common_share": float(possible.mean()),
    }


@torch.no_grad()
def views_that_see(half: Half, positions: np.ndarray) -> np.ndarray:
    """In how many of a half's photographs points are to be seen: inside the picture, with no surface in front."""
    pipeline, points = half.pipeline, half.to_nerf(positions)
    count = np.zeros(len(points), dtype=int)
    for index in range(len(pipeline.datamanager.train_dataset)):
        camera = refined_camera(pipeline, index)
        local = in_camera(camera, torch.from_numpy(points.astype(np.float32))).numpy()
        ahead = local[:, 2] > 1e-6
        column = camera.fx.item() * local[:, 0] / np.where(ahead, local[:, 2], 1.0) + camera.cx.item()
        row = camera.fy.item() * local[:, 1] / np.where(ahead, local[:, 2], 1.0) + camera.cy.item()
        width, height = camera.width.item(), camera.height.item()
        (inside,) = np.nonzero(ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height))
        if not len(inside):
            continue
        centre = camera.camera_to_worlds[0, :, 3].numpy().astype(np.float64)
        offset = points[inside] - centre
        distance = np.linalg.norm(offset, axis=1)
        rays = bundle(pipeline.model.device, np.tile(centre, (len(inside), 1)), offset / distance[:, None])
        met = look_along(pipeline.model, rays).distance.numpy()
        count[inside[met >= (1.0 - half.options.depth_tolerance) * distance]] += 1
    return count


def _scored_by_detector(half: Half) -> np.ndarray:
    """Key points chosen by the 2D detector's own scores, as if there were no 3D key-point head."""
    views = [replace(view, scores=view.strengths) for view in half.views]
    return half.to_world(choose(find_tracks(views, half.options), half.num_keypoints, half.options).positions)


def _surface(view: View) -> np.ndarray:
    """Where a view's detections meet the surface, the detector's best first."""
    met = np.isfinite(view.distances)
    return (view.centre + view.distances[:, None] * view.bearings)[met]


def _random_surface(half: Half) -> np.ndarray:
    """Where rays through random pixels of random photographs meet the surface."""
    random = torch.Generator().manual_seed(0)
    pipeline, points = half.pipeline, []
    views = torch.randint(len(half.views), (half.num_keypoints,), generator=random)
    for index in views.unique().tolist():
        camera, count = refined_camera(pipeline, index), int((views == index).sum())
        size = torch.tensor([camera.height.item(), camera.width.item()])
        coords = torch.rand(count, 2, generator=random) * size
        rays = camera.generate_rays(torch.zeros(count, 1, dtype=torch.long), coords=coords)
        distance = look_along(pipeline.model, rays).distance
        points.append((rays.origins + distance[:, None] * rays.directions).double().numpy())
    return half.to_world(np.concatenate(points))


def _one_photograph(half: Half, other: Half) -> np.ndarray:
    """The best detections of the photograph that looks most like one of the other half, projected by its depth."""
    poses = [[pose for _, pose in h.photographs] for h in (half, other)]
    # The pair whose cameras stand nearest to each other, the same seen from either half.
    gaps = [[np.linalg.norm(p[:3, 3] - q[:3, 3]) - 0.1 * (p[:3, 2] @ q[:3, 2]) for q in poses[1]] for p in poses[0]]
    index = int(np.unravel_index(np.argmin(gaps), np.shape(gaps))[0])
    return half.to_world(_surface(half.views[index])[: half.num_keypoints])


def localisation(a: Half, b: Half) -> dict[str, Any]:
    """Each half's photographs, located by the other half's key points alone."""
    degrees, percent = [], []
    for half, other in ((a, b), (b, a)):
        points = half.scene.points
        size = extent(points.positions)
        for detections, true in other.photographs:
            pairs = match(points.descriptors, detections.descriptors)
            found = locate(points.positions[pairs[:, 0]], detections.pixels[pairs[:, 1]], other.intrinsics)
            if found is None or found.confidence < SURE:
                degrees.append(180.0)
                percent.append(float("inf"))
                continue
            degrees.append(_angle(found.camera_to_world[:3, :3].T @ true[:3, :3]))
            percent.append(100.0 * float(np.linalg.norm(found.camera_to_world[:3, 3] - true[:3, 3])) / size)
    errors = np.array(degrees), np.array(percent)
    return {
        "photographs": len(degrees),
        "located": float(np.isfinite(errors[1]).mean()),
        "within_1_degree_1_percent": float(((errors[0] <= 1.0) & (errors[1] <= 1.0)).mean()),
        "within_2_degrees_2_percent": float(((errors[0] <= 2.0) & (errors[1] <= 2.0)).mean()),
        "median_degrees": median(degrees),
        "median_percent": median(percent),
    }


def alignment(a: Half, b: Half) -> dict[str, Any]:
    """One half, moved by a random similarity transform, laid over the other by key points alone."""
    random = np.random.default_rng(0)
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    scale, shift = 2.5, random.normal(size=3) * 10.0
    points_a, points_b = a.scene.points, b.scene.points
    moved = scale * points_a.positions @ rotation.T + shift
    pairs = match(points_a.descriptors, points_b.descriptors)
    found = align(moved[pairs[:, 0]], points_b.positions[pairs[:, 1]])
    if found is None or found.confidence < SURE:
        return {"aligned": False, "matches": len(pairs), "degrees": 180.0, "scale_percent": 100.0}
    back = found.a_to_b[:3, :3] / found.scale @ rotation
    placed = moved @ found.a_to_b[:3, :3].T + found.a_to_b[:3, 3]
    gap = np.linalg.norm(placed - points_a.positions, axis=1)
    return {
        "aligned": True,
        "matches": len(pairs),
        "inliers": len(found.inliers),
        "degrees": _angle(back),
        "scale_percent": 100.0 * abs(found.scale * scale - 1.0),
        "median_gap_percent": 100.0 * float(np.median(gap)) / extent(points_b.positions),
    }


def sample_sizes(halves: list[Half]) -> list[int]:
    """Bytes of each half's condensed scene."""
    return [sum(len(content) for content in as_files(half.scene).values()) for half in halves]


def _angle(rotation: np.ndarray) -> float:
    """Angle of a rotation in degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))))
