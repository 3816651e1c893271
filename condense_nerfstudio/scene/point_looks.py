"""Looking at points from the views that support them: are they to be seen, and what is there?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from nerfstudio.cameras.rays import RayBundle

from condense_nerfstudio.keypoints.config import CondensationConfig
from condense_nerfstudio.keypoints.tracks import NO_DETECTION, Tracks, View
from condense_nerfstudio.scene.posed_scene import PosedScene
from condense_nerfstudio.scene.ray_answers import RayAnswers
from condense_nerfstudio.scene.surface import LEAST_ACCUMULATION


@dataclass
class Looks:
    """Rays from cameras to points, and what the field answers along them."""

    points: Int[np.ndarray, " k"]
    """Which point each ray leads to."""
    views: Int[np.ndarray, " k"]
    """From which view."""
    directions: Float[np.ndarray, "k 3"]
    answers: RayAnswers
    seen: Bool[np.ndarray, " k"]
    """Whether the ray ends at the point: no surface in front of it, and one there."""

    def mean(self, values: Float[np.ndarray, "k c"], count: int) -> Float[np.ndarray, "n c"]:
        """Mean over the rays that see each of `count` points; zero for points that none sees."""
        total = np.zeros((count, values.shape[1]))
        np.add.at(total, self.points[self.seen], values[self.seen])
        return total / np.maximum(self.times_seen(count), 1)[:, None]

    def times_seen(self, count: int) -> Int[np.ndarray, " n"]:
        """From how many views each of `count` points is seen."""
        return np.bincount(self.points[self.seen], minlength=count)


def look_at(
    scene: PosedScene, tracks: Tracks, views: Sequence[View], config: CondensationConfig, features: bool = False
) -> Looks:
    """Looks at points from the nearest of the views that support them.

    Args:
        scene: the scene.
        tracks: the points.
        views: as the tracks were found in.
        config: from how many views, and how exactly a ray has to end at its point.
        features: whether to render the teachers' features too.
    """
    points, seen_from = _nearest_pairs(tracks, views, config.max_looks)
    centres = np.stack([view.centre for view in views])[seen_from]
    offsets = tracks.positions[points] - centres
    distances = np.linalg.norm(offsets, axis=1)
    directions = offsets / distances[:, None]
    answers = scene.look_along(bundle(scene.device, centres, directions), features)
    gap = np.abs(answers.distance.double().cpu().numpy() - distances)
    slack = config.depth_tolerance * distances + answers.spread.double().cpu().numpy()
    solid = answers.accumulation.cpu().numpy() > LEAST_ACCUMULATION
    return Looks(points, seen_from, directions, answers, solid & (gap <= slack))


def normals(
    scene: PosedScene, tracks: Tracks, looks: Looks, views: Sequence[View], reach: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """Unit normals at points, towards the cameras: the mean over the views that see each.

    From each view, the surface is met by four rays around the point; the cross product of the lines between opposite
    ones is the normal. Where the field is too rough for that, the normal is the mean direction to the cameras.

    Args:
        scene: the scene.
        tracks: the points.
        looks: at the points.
        views: as the tracks were found in.
        reach: distance of the four rays from each point.
    """
    kept = np.flatnonzero(looks.seen)
    points, directions = looks.points[kept], looks.directions[kept]
    centres = np.stack([view.centre for view in views])[looks.views[kept]]
    aside = np.cross(directions, np.where(np.abs(directions[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]))
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    up = np.cross(aside, directions)
    met = []
    for step in (aside, -aside, up, -up):
        towards = tracks.positions[points] + reach[points, None] * step - centres
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        distance = scene.look_along(bundle(scene.device, centres, towards)).distance.double().cpu().numpy()
        met.append(centres + distance[:, None] * towards)
    normal = np.cross(met[0] - met[1], met[2] - met[3])
    normal *= -np.sign((normal * directions).sum(axis=1, keepdims=True))
    normal = _unit(normal) - 1e-3 * directions
    total = np.zeros((len(tracks), 3))
    np.add.at(total, points, normal)
    return _unit(total)


def bundle(device: torch.device, origins: np.ndarray, directions: np.ndarray) -> RayBundle:
    """Rays of the scene from plain arrays (rays, 3)."""

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    area = torch.full((len(origins), 1), 1e-6, device=device)
    return RayBundle(origins=tensor(origins), directions=tensor(directions), pixel_area=area)


def _nearest_pairs(
    tracks: Tracks, views: Sequence[View], most: int
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Points and the views to look from."""
    centres = np.stack([view.centre for view in views])
    distance = np.linalg.norm(tracks.positions[:, None] - centres, axis=2)
    distance[tracks.support == NO_DETECTION] = np.inf
    order = np.argsort(distance, axis=1, kind="stable")[:, :most]
    points = np.repeat(np.arange(len(tracks)), order.shape[1])
    supported = np.isfinite(np.take_along_axis(distance, order, axis=1)).ravel()
    return points[supported], order.ravel()[supported]


def _unit(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
