"""How much of what should be seen is seen: tells a place from another one that shares a picture or some furniture.

A pose or transform on which many matches agree can be right for a part and wrong for the place: the same poster hangs
in many rooms. If it is the same place, the rest agrees as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.spatial import KDTree

from condense_nerfstudio.keypoints.alignment import REACH, extent
from condense_nerfstudio.keypoints.condensed_scene import LocalPoints
from condense_nerfstudio.keypoints.localisation import REACH_PIXELS

SAME_PLACE = 0.25
"""Agreement from which two scenes are the same place; chosen on the demo and real scenes of docs/repository.md."""
TAKEN_HERE = 0.65
"""Agreement, compared with what is usual in a scene, from which a photograph was taken there; likewise."""
_ALIKE = 0.75
"""Cosine of the descriptors of key points that may be the same."""
_SURROUNDINGS = 1.5
"""Key points around each in which agreement is counted, per square root of all of them."""
_WORST = 0.2
"""Share of a scene, where least agrees, that must agree too."""
_FOUND, _EXPLAINED = 0.8, 0.7
"""Cosine from which a key point is found in a photograph, and from which a part of a photograph is explained by one."""
_FACING = 0.3
"""Cosine of the angle between a surface and the direction to the camera from which it counts as visible."""
_PARTS = (4, 3)
"""Parts, across and down, into which a photograph is divided."""
_TEXTURED = 0.01
"""Share of a photograph's key points that a part must hold to count."""
_UNKNOWN = 0.7
"""What a scene's own photographs usually agree with it, where nobody looked: the demo rooms'."""
_LEAST_USUAL = 0.1
"""A scene whose own photographs agree less with it does not make others count for more."""
BEST = 2000
"""Key points of a photograph that are looked at, the best first."""


@dataclass(frozen=True)
class Sight:
    """A photograph's key points as a camera without a lens would see them."""

    images: Float[np.ndarray, "n 2"]
    """In pixels from the principal point, x right and y down."""
    descriptors: Float32[np.ndarray, "n d"]
    """Unit vectors."""
    focal_length: float
    """In pixels."""
    size: tuple[int, int]
    """Width and height in pixels."""


def of_scenes(a: LocalPoints, b: LocalPoints, a_to_b: Float[np.ndarray, "4 4"]) -> float:
    """Share of the key points of two scenes that the other has too, in 0..1; of the scene that finds fewer again.

    The geometric mean of the share in the whole scene, and where it is least. Rooms with the same furniture and walls
    can be laid over each other so that most key points agree, but none do where they differ; those that captures of one
    place miss are spread over it. Key points outside the box that the other scene's fill do not count: captures of one
    place may overlap in part.

    Args:
        a: a scene.
        b: another one.
        a_to_b: similarity transform from a's frame to b's.
    """
    moved = a.positions @ a_to_b[:3, :3].T + a_to_b[:3, 3]
    reach = REACH * min(extent(moved), extent(b.positions))
    near = KDTree(moved).sparse_distance_matrix(KDTree(b.positions), reach, output_type="coo_matrix")
    alike = np.einsum("kd,kd->k", a.descriptors[near.row], b.descriptors[near.col]) >= _ALIKE
    shares = []
    for own, other, found in ((moved, b.positions, near.row[alike]), (b.positions, moved, near.col[alike])):
        common = np.flatnonzero(_within(own, other, reach))
        shares.append(_everywhere(own[common], np.isin(common, found)) if len(common) else 0.0)
    return min(shares)


def of_photograph(scene: LocalPoints, sight: Sight, camera_to_world: Float[np.ndarray, "_ 4"]) -> float:
    """Share of a scene's visible key points that are found in a photograph, times that of the photograph they explain.

    A part of the photograph is explained by one such key point, and counts by how much texture it holds.

    Args:
        scene: the scene.
        sight: what the photograph shows.
        camera_to_world: its pose (OpenGL).

    Returns:
        A number in 0..1.
    """
    local = (scene.positions - camera_to_world[:3, 3]) @ camera_to_world[:3, :3]
    depth = -local[:, 2]
    ahead = depth > 1e-6
    image = sight.focal_length * local[:, :2] * (1.0, -1.0) / np.where(ahead, depth, 1.0)[:, None]
    facing = -(scene.normals @ camera_to_world[:3, :3] * local).sum(axis=1) / np.linalg.norm(local, axis=1).clip(1e-12)
    framed = (np.abs(image) <= np.array(sight.size) / 2).all(axis=1)
    visible = np.flatnonzero(ahead & framed & (facing > _FACING))
    if not len(visible) or not len(sight.images):
        return 0.0
    reach = REACH_PIXELS / 1024.0 * max(sight.size)
    near = KDTree(image[visible]).sparse_distance_matrix(KDTree(sight.images), reach, output_type="coo_matrix")
    cosines = np.einsum("kd,kd->k", scene.descriptors[visible[near.row]], sight.descriptors[near.col])
    found = len(np.unique(near.row[cosines >= _FOUND])) / len(visible)
    parts = _part_of(sight)
    held = np.bincount(parts, minlength=_PARTS[0] * _PARTS[1])
    held[held < _TEXTURED * len(parts)] = 0
    explained = np.unique(parts[near.col[cosines >= _EXPLAINED]])
    return found * float(held[explained].sum() / max(held.sum(), 1))


def as_usual(found: float, usual: float | None) -> float:
    """What a photograph agrees with a scene, as a share of what photographs of that scene do, in 0..1.

    Where surfaces are far away, poses imprecise or leaves move, few key points are found again even by the photographs
    that they were made of.

    Args:
        found: see :func:`of_photograph`.
        usual: of the scene's own photographs (``CondensedScene.agreement``); None where it is not known.
    """
    return min(1.0, found / max(_LEAST_USUAL, _UNKNOWN if usual is None else usual))


def _everywhere(positions: Float[np.ndarray, "n 3"], found: Bool[np.ndarray, " n"]) -> float:
    """Share of points that are found, times that where it is least; the square root of it."""
    around = min(len(positions), round(_SURROUNDINGS * len(positions) ** 0.5))
    nearest = KDTree(positions).query(positions, around)[1]
    local = np.sort(found[nearest].reshape(len(positions), around).mean(axis=1))
    worst = local[: max(1, round(_WORST * len(local)))].mean()
    return float(np.sqrt(found.mean() * worst))


def _within(
    points: Float[np.ndarray, "n 3"], others: Float[np.ndarray, "m 3"], margin: float
) -> Bool[np.ndarray, " n"]:
    """Which points lie in the box that others fill."""
    low, high = others.min(axis=0) - margin, others.max(axis=0) + margin
    return ((points >= low) & (points <= high)).all(axis=1)


def _part_of(sight: Sight) -> Int[np.ndarray, " n"]:
    """The part of the photograph in which each of its key points lies."""
    across, down = _PARTS
    column, row = ((sight.images / sight.size + 0.5) * _PARTS).astype(np.int64).T
    return column.clip(0, across - 1) * down + row.clip(0, down - 1)
