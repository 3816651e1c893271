"""Made-up places whose key points have descriptors that a made-up detector sees in made-up photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.keypoints.detection import Detections
from condense_nerfstudio.repository.photograph import Photograph

from ..keypoints.scenes import DESCRIPTOR_DIM, make_scene, unit_vectors

WIDTH, HEIGHT, FOCAL = 640, 480, 600.0


def place(name: str, seed: int, again: int = 0, count: int = 120, **changes: Any) -> CondensedScene:
    """A scene of random points in a box around the origin.

    Args:
        name: its id.
        seed: of the place: the same points with the same descriptors, but for noise.
        again: of the capture: noise, and which points were found, differ.
        count: points.
        changes: fields to replace.
    """
    random = np.random.default_rng([seed, again])
    several = count + count // 10
    scene = make_scene(several, seed, id=name)
    kept = random.permutation(several)[:count] if again else np.arange(count)
    descriptors = scene.points.descriptors[kept].astype(np.float64) + random.normal(0, 0.02, (count, DESCRIPTOR_DIM))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    positions = scene.points.positions[kept] + random.normal(0, 0.002, (count, 3))
    fields = {
        "positions": positions.astype(np.float32),
        "normals": scene.points.normals[kept],
        "descriptors": descriptors.astype(np.float16),
    }
    return make_scene(count, seed, id=name, **{**fields, **changes})


def pose_from(seed: int, distance: float = 4.0) -> Float[np.ndarray, "4 4"]:
    """Camera-to-world (OpenGL) of a camera that looks at the origin."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(np.random.default_rng(seed).normal(size=4)).as_matrix()
    pose[:3, 3] = pose[:3, 2] * distance
    return pose


def photograph(focal_length: float | None = FOCAL) -> Photograph:
    """A grey one; what is in it, the made-up detector says."""
    return Photograph(torch.full((HEIGHT, WIDTH, 3), 0.5), (WIDTH, HEIGHT), focal_length)


@dataclass
class Seeing:
    """A detector that sees what faces a pose of a scene, whatever the photograph, and clutter among it."""

    scene: CondensedScene | None
    pose: Float[np.ndarray, "4 4"]
    clutter: int = 60

    name, dim, patch_size, revision = "xfeat", DESCRIPTOR_DIM, 32, "r3"

    def detect(self, image: Float[Tensor, "h w 3"]) -> Detections:
        random = np.random.default_rng(5)
        pixels = random.uniform(0.3, 0.7, (self.clutter, 2)) * (WIDTH, HEIGHT)
        descriptors = unit_vectors(random, self.clutter, DESCRIPTOR_DIM)
        if self.scene is not None:
            points = self.scene.points
            facing = (points.normals * (self.pose[:3, 3] - points.positions)).sum(axis=1) > 0
            local = (points.positions[facing] - self.pose[:3, 3]) @ self.pose[:3, :3]
            seen = FOCAL * local[:, :2] * (1.0, -1.0) / -local[:, 2:] + (WIDTH / 2, HEIGHT / 2)
            pixels = np.concatenate([seen + random.normal(0, 0.5, seen.shape), pixels])
            noisy = points.descriptors[facing] + random.normal(0, 0.02, (len(seen), DESCRIPTOR_DIM))
            descriptors = np.concatenate([noisy / np.linalg.norm(noisy, axis=1, keepdims=True), descriptors])
        return Detections(
            pixels=pixels.astype(np.float32),
            scores=np.linspace(1.0, 0.1, len(pixels), dtype=np.float32),
            descriptors=descriptors.astype(np.float16),
            heat=np.zeros((HEIGHT // 8, WIDTH // 8), dtype=np.float16),
            image_size=(HEIGHT, WIDTH),
            pixel_size=1.0,
        )


def degrees(a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"]) -> float:
    """Angle between the rotations of two poses, or similarity transforms."""
    turns = [pose[:3, :3] / np.cbrt(np.linalg.det(pose[:3, :3])) for pose in (a, b)]
    return float(np.degrees(Rotation.from_matrix(turns[0].T @ turns[1]).magnitude()))
