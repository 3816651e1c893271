"""A condensed scene: what is left of a NeRF when only its key points are kept, each with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float16, Float32, Int32, UInt8

FORMAT_VERSIONS = (1, 2)
"""Of the folder's format; 1 has no agreement. A reader refuses what it does not know."""

SCENE_FILE, POINTS_FILE, FEATURES_FILE = "scene.json", "keypoints.ply", "keypoints.safetensors"


@dataclass(frozen=True)
class LocalPoints:
    """Key points with their local descriptors: what is needed to find them in a photograph or in another scene."""

    positions: Float[np.ndarray, "n 3"]
    """In the data set's world frame."""
    normals: Float[np.ndarray, "n 3"]
    """Unit vectors out of the surface."""
    descriptors: Float32[np.ndarray, "n d"]
    """Unit vectors; in single precision, since processors multiply half numbers a hundred times more slowly."""


@dataclass(frozen=True)
class KeyPoints:
    """Decorated key points, the best first. All lengths are in the data set's own units and world frame."""

    positions: Float32[np.ndarray, "n 3"]
    normals: Float32[np.ndarray, "n 3"]
    """Unit vectors out of the surface, towards the cameras that see it."""
    colors: UInt8[np.ndarray, "n 3"]
    """RGB."""
    scales: Float32[np.ndarray, " n"]
    """Side of the patch of surface that the local descriptor describes."""
    scores: Float32[np.ndarray, " n"]
    """How likely a view shows a key point here, in 0..1."""
    views: Int32[np.ndarray, " n"]
    """Photographs whose detections support the point."""
    descriptors: Float16[np.ndarray, "n d"]
    """Local descriptors, unit vectors: for finding the point again in a photograph."""
    features: Mapping[str, Float16[np.ndarray, "n c"]]
    """By teacher, in the teacher's own space: what is there, in words that other scenes and text understand."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def local(self) -> LocalPoints:
        """What is needed to find them again."""
        return LocalPoints(self.positions, self.normals, self.descriptors.astype(np.float32))


@dataclass(frozen=True)
class NetworkCard:
    """Which network made features or descriptors: numbers of different revisions must not be compared."""

    name: str
    revision: str
    dim: int


@dataclass(frozen=True)
class TeacherCard(NetworkCard):
    """A teacher's card."""

    role: Literal["visual", "language"]
    """Whether text can be compared with the features."""
    config: Mapping[str, Any]
    """Options with which the teacher is loaded again: name, model, layer, resolution."""


@dataclass(frozen=True)
class DetectorCard(NetworkCard):
    """The detector's card."""

    config: Mapping[str, Any]
    """Options with which the detector is loaded again: name, model, resolution, max_keypoints."""


@dataclass(frozen=True)
class CondensedScene:
    """A scene as it is stored; see docs/condensed_scene.md."""

    id: str
    """Its name in a collection: the folder's, unless told otherwise."""
    name: str
    """What people call it: the capture's."""
    units: str
    """What one unit of length is: "dataset" where nobody knows, or "metres"."""
    world_to_nerf: Float32[np.ndarray, "4 4"]
    """The similarity from the data set's world frame to that of the NeRF it was condensed from."""
    teachers: tuple[TeacherCard, ...]
    detector: DetectorCard
    creation: Mapping[str, Any]
    """How it was made: program, method, checkpoint, parameters. For people; nothing depends on it."""
    points: KeyPoints
    agreement: float | None = None
    """What three in four of its own photographs reach of :func:`.agreement.of_photograph`, in 0..1; None where nobody
    looked, as in files of version 1."""

    @property
    def bounding_box(self) -> Float32[np.ndarray, "2 3"]:
        """Smallest and largest coordinates of the key points."""
        return np.stack([self.points.positions.min(axis=0), self.points.positions.max(axis=0)])
