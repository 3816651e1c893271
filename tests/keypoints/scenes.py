"""Condensed scenes of random points, for tests of whatever reads them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from condense_nerfstudio.keypoints.condensed_scene import CondensedScene, DetectorCard, KeyPoints, TeacherCard

TEACHER_DIMS = {"dinov2": 8, "clip": 6}
DESCRIPTOR_DIM = 16


def make_points(count: int = 20, seed: int = 0) -> KeyPoints:
    """Random key points in a box around the origin, the best score first."""
    random = np.random.default_rng(seed)
    return KeyPoints(
        positions=random.uniform(-1, 1, (count, 3)).astype(np.float32),
        normals=unit_vectors(random, count, 3).astype(np.float32),
        colors=random.integers(0, 256, (count, 3), dtype=np.uint8),
        scales=random.uniform(0.01, 0.1, count).astype(np.float32),
        scores=np.sort(random.random(count))[::-1].astype(np.float32),
        views=random.integers(1, 50, count, dtype=np.int32),
        descriptors=unit_vectors(random, count, DESCRIPTOR_DIM).astype(np.float16),
        features={name: random.normal(size=(count, dim)).astype(np.float16) for name, dim in TEACHER_DIMS.items()},
    )


def make_scene(count: int = 20, seed: int = 0, **changes: Any) -> CondensedScene:
    """A valid condensed scene; `changes` replace fields of the scene, or of its points."""
    of_points = {field.name: changes.pop(field.name) for field in fields(KeyPoints) if field.name in changes}
    points = replace(make_points(count, seed), **of_points)
    world_to_nerf = np.eye(4, dtype=np.float32)
    world_to_nerf[:3] *= np.float32(0.3)
    scene = CondensedScene(
        id="fox",
        name="A fox",
        units="dataset",
        world_to_nerf=world_to_nerf,
        teachers=(
            TeacherCard("dinov2", "r1", TEACHER_DIMS["dinov2"], "visual", {"name": "dinov2", "resolution": 448}),
            TeacherCard("clip", "r2", TEACHER_DIMS["clip"], "language", {"name": "clip", "layer": None}),
        ),
        detector=DetectorCard("xfeat", "r3", DESCRIPTOR_DIM, {"name": "xfeat", "max_keypoints": 4096}),
        creation={"program": "condense 0.2.0", "threshold": 0.1, "levels": [1, 2]},
        points=points,
    )
    return replace(scene, **changes)


def unit_vectors(random: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Random directions."""
    vectors = random.normal(size=(count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
