"""A made-up world of points that made-up photographs detect: what tracks should find is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from condense_nerfstudio.keypoints.tracks import View

PIXEL = 1e-3
"""Angle of a pixel."""


@dataclass
class World:
    """Points on a plane and in front of it, seen by cameras on a line."""

    positions: np.ndarray
    descriptors: np.ndarray
    centres: np.ndarray


def make_world(points: int = 60, cameras: int = 6, seed: int = 0) -> World:
    """Points about three units in front of cameras that span two units."""
    random = np.random.default_rng(seed)
    positions = np.c_[random.uniform(-1, 1, (points, 2)), random.uniform(-3.2, -2.8, points)]
    descriptors = random.normal(size=(points, 32))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    centres = np.c_[np.linspace(-1, 1, cameras), np.zeros((cameras, 2))]
    return World(positions, descriptors.astype(np.float32), centres)


def photograph_of(
    world: World,
    camera: int,
    shown: np.ndarray | None = None,
    pixel_noise: float = 0.0,
    depth_noise: float = 0.0,
    seed: int = 0,
) -> View:
    """What one camera detects of a world.

    Args:
        world: the world.
        camera: which of its cameras.
        shown: indices of the points that are detected; all by default.
        pixel_noise: standard deviation of detections, in pixels.
        depth_noise: standard deviation of the surface's distance, as a share of it.
        seed: of the noise.
    """
    random = np.random.default_rng([seed, camera])
    shown = np.arange(len(world.positions)) if shown is None else shown
    offsets = world.positions[shown] - world.centres[camera]
    distances = np.linalg.norm(offsets, axis=1)
    bearings = offsets / distances[:, None] + random.normal(size=offsets.shape) * pixel_noise * PIXEL
    bearings /= np.linalg.norm(bearings, axis=1, keepdims=True)
    count = len(shown)
    return View(
        camera_to_world=np.c_[np.eye(3), world.centres[camera]],
        focal_length=1.0 / PIXEL,
        size=(2000, 2000),
        bearings=bearings,
        pixel_angles=np.full(count, PIXEL),
        distances=distances * (1 + random.normal(size=count) * depth_noise),
        spreads=np.full(count, 0.01),
        scores=np.linspace(0.9, 0.3, len(world.positions))[shown],
        strengths=np.full(count, 0.5),
        descriptors=world.descriptors[shown],
    )
