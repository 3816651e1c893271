"""From key points of single photographs to points in space that several views agree on.

Each detection that meets the scene's surface is a candidate. A candidate is looked for in all other views: a detection
near its image, with a like descriptor, on the surface and not behind it, supports it. Its position is then found anew
from everything that supports it, and looked for again, more strictly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.spatial import KDTree

from condense_nerfstudio.keypoints.agreement import BEST, Sight
from condense_nerfstudio.keypoints.config import CondensationConfig

NO_DETECTION = -1

_NEIGHBOURS = 4
"""Detections near a candidate's image whose descriptors are compared."""
_LEAST_AHEAD = 0.01
"""Cosine of the angle to the direction of view up to which a camera without a lens could see something."""


@dataclass(frozen=True)
class View:
    """One photograph's key points, as directions in space; all lengths in the scene's units, angles in radians."""

    camera_to_world: Float[np.ndarray, "3 4"]
    """The camera's pose (OpenGL)."""
    focal_length: float
    """In pixels of what the detector saw."""
    size: tuple[int, int]
    """Width and height of that, in pixels."""
    bearings: Float[np.ndarray, "n 3"]
    """Unit vectors from the centre through the detections."""
    pixel_angles: Float[np.ndarray, " n"]
    """Angle that a pixel of what the detector saw covers, at each detection."""
    distances: Float[np.ndarray, " n"]
    """How far the surface is along each bearing; not a number where there is none."""
    spreads: Float[np.ndarray, " n"]
    """How uncertain that is: half the width of the middle two thirds of the rendering weight."""
    scores: Float[np.ndarray, " n"]
    """What the field says: how much a key point each is, in 0..1."""
    strengths: Float[np.ndarray, " n"]
    """What the detector says, compared with the photograph's other detections, in 0..1."""
    descriptors: Float32[np.ndarray, "n d"]
    """Unit vectors."""

    @property
    def centre(self) -> Float[np.ndarray, " 3"]:
        """Where the camera stands."""
        return self.camera_to_world[:, 3]

    @property
    def sight(self) -> Sight:
        """The same without the scene's surface: the best of the detections that lie before the camera."""
        local = self.bearings @ self.camera_to_world[:, :3]
        ahead = np.flatnonzero(local[:, 2] < -_LEAST_AHEAD)[:BEST]
        images = self.focal_length * local[ahead, :2] * (1.0, -1.0) / -local[ahead, 2:]
        return Sight(images, self.descriptors[ahead], self.focal_length, self.size)


@dataclass(frozen=True)
class Tracks:
    """Points in space and the detections that support them."""

    positions: Float[np.ndarray, "m 3"]
    support: Int[np.ndarray, "m v"]
    """In each view, the detection that supports the point; NO_DETECTION where none does."""
    scores: Float[np.ndarray, " m"]
    """Mean score of the supporting detections."""
    strengths: Float[np.ndarray, " m"]
    """Their mean strength."""
    pixels: Float[np.ndarray, " m"]
    """Side of a detector's pixel at the point, seen from the nearest supporting view, in the scene's units."""

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, keep: Int[np.ndarray, " k"] | Bool[np.ndarray, " m"]) -> Tracks:
        arrays = (self.positions, self.support, self.scores, self.strengths, self.pixels)
        return Tracks(*(array[keep] for array in arrays))

    @property
    def counts(self) -> Int[np.ndarray, " m"]:
        """Supporting views of each point."""
        return (self.support != NO_DETECTION).sum(axis=1)

    @property
    def ranks(self) -> Float[np.ndarray, " m"]:
        """How good a key point each is: what the field says and, less, what the detector says and how many views agree.

        Two trainings choose the same points more often than by any of the three alone (docs/key_points.md).
        """
        return self.scores * np.sqrt(self.strengths * self.counts)


def find_tracks(
    views: Sequence[View], config: CondensationConfig, on_view: Callable[[], None] = lambda: None
) -> Tracks:
    """The points that at least `config.min_views` views agree on; one point may be found several times.

    Args:
        views: the photographs.
        config: how strictly.
        on_view: called after each view has been searched, `len(config.search_pixels)` times a view.
    """
    positions, owners = _candidates(views, config)
    support = np.empty((len(positions), 0), dtype=np.int32)
    for reach in config.search_pixels:
        support = np.full((len(positions), len(views)), NO_DETECTION, dtype=np.int32)
        for v, view in enumerate(views):
            support[:, v] = _supporting(view, positions, owners, views, reach, config)
            on_view()
        agreed = (support != NO_DETECTION).sum(axis=1) >= config.min_views
        support, owners = support[agreed], owners[agreed]
        positions = _located(views, support, positions[agreed], config)
    return _tracks(views, positions, support)


def _candidates(
    views: Sequence[View], config: CondensationConfig
) -> tuple[Float[np.ndarray, "m 3"], Int[np.ndarray, "m 2"]]:
    """Surface points of the detections, the best first, and whose they are (view, detection)."""
    positions, scores, owners = [np.empty((0, 3))], [np.empty(0)], [np.empty((0, 2), dtype=np.int64)]
    for v, view in enumerate(views):
        sharp = view.spreads <= config.max_spread * view.distances  # false where there is no surface
        (kept,) = np.nonzero(sharp)
        positions.append(view.centre + view.distances[kept, None] * view.bearings[kept])
        scores.append(view.scores[kept])
        owners.append(np.stack([np.full(len(kept), v), kept], axis=1))
    best = np.argsort(-np.concatenate(scores), kind="stable")[: config.max_candidates]
    return np.concatenate(positions)[best], np.concatenate(owners)[best]


def _supporting(
    view: View,
    positions: Float[np.ndarray, "m 3"],
    owners: Int[np.ndarray, "m 2"],
    views: Sequence[View],
    reach: float,
    config: CondensationConfig,
) -> Int[np.ndarray, " m"]:
    """The detection of a view that supports each candidate.

    The nearest few within `reach` pixels are compared with the descriptor of the detection that the candidate came
    from; the most similar one counts.
    """
    found = np.full(len(positions), NO_DETECTION, dtype=np.int32)
    if not len(view.bearings) or not len(positions):
        return found
    offsets = positions - view.centre
    distances = np.linalg.norm(offsets, axis=1)
    bound = reach * float(view.pixel_angles.max())
    towards = offsets / np.maximum(distances, 1e-9)[:, None]
    nearest: Any = KDTree(view.bearings).query(towards, k=_NEIGHBOURS, distance_upper_bound=bound, workers=-1)
    gaps, indices = nearest
    rows, columns = np.nonzero(np.isfinite(gaps))
    nearby = indices[rows, columns]
    own = np.empty((len(rows), view.descriptors.shape[1]), dtype=np.float32)
    for v in np.unique(owners[rows, 0]):
        mine = owners[rows, 0] == v
        own[mine] = views[v].descriptors[owners[rows[mine], 1]]
    similarity = np.einsum("nd,nd->n", own, view.descriptors[nearby])
    surface = view.distances[nearby]
    slack = config.depth_tolerance * distances[rows] + view.spreads[nearby]
    fits = (
        (gaps[rows, columns] <= reach * view.pixel_angles[nearby])
        & (similarity >= config.min_similarity)
        & (np.abs(surface - distances[rows]) <= slack)
    )
    rows, nearby, similarity = rows[fits], nearby[fits], similarity[fits]
    order = np.argsort(similarity, kind="stable")  # the most similar is written last
    found[rows[order]] = nearby[order]
    return found


def _located(
    views: Sequence[View],
    support: Int[np.ndarray, "m v"],
    positions: Float[np.ndarray, "m 3"],
    config: CondensationConfig,
) -> Float[np.ndarray, "m 3"]:
    """Where points most probably are, given the detections that support them.

    Least squares of two kinds of observation. A detection says where the point is across its bearing, to about a pixel;
    the field says how far along it, as well as it knows. With a wide baseline the first decides (triangulation), with a
    narrow one the second. Residuals beyond `config.outlier_pixels` count less and less (Cauchy's weights).
    """
    for _ in range(config.refinements):
        normal, right = np.zeros((len(positions), 3, 3)), np.zeros((len(positions), 3))
        for v, view in enumerate(views):
            (rows,) = np.nonzero(support[:, v] != NO_DETECTION)
            if not len(rows):
                continue
            detections = support[rows, v]
            bearing, distance = view.bearings[detections], view.distances[detections]
            offset = positions[rows] - view.centre
            along = np.einsum("nd,nd->n", offset, bearing)
            across = np.linalg.norm(offset - along[:, None] * bearing, axis=1)
            pixel = view.pixel_angles[detections] * np.maximum(along, 1e-6)
            sure = 1.0 / (1.0 + (across / (config.outlier_pixels * pixel)) ** 2)
            deep = np.maximum(view.spreads[detections], config.depth_error * distance)
            outer = bearing[:, :, None] * bearing[:, None, :]
            information = sure[:, None, None] * (
                (np.eye(3) - outer) / pixel[:, None, None] ** 2 + outer / deep[:, None, None] ** 2
            )
            normal[rows] += information
            observed = view.centre + distance[:, None] * bearing
            right[rows] += np.einsum("nij,nj->ni", information, observed)
        if len(positions):
            positions = np.linalg.solve(normal, right[..., None])[..., 0]
    return positions


def _tracks(views: Sequence[View], positions: Float[np.ndarray, "m 3"], support: Int[np.ndarray, "m v"]) -> Tracks:
    """Tracks with the means over their detections and the size of a pixel at each."""
    scores, strengths, count = np.zeros(len(positions)), np.zeros(len(positions)), np.zeros(len(positions))
    pixels = np.full(len(positions), np.inf)
    for v, view in enumerate(views):
        (rows,) = np.nonzero(support[:, v] != NO_DETECTION)
        detections = support[rows, v]
        scores[rows] += view.scores[detections]
        strengths[rows] += view.strengths[detections]
        count[rows] += 1
        reach = np.linalg.norm(positions[rows] - view.centre, axis=1)
        pixels[rows] = np.minimum(pixels[rows], reach * view.pixel_angles[detections])
    count = np.maximum(count, 1)
    return Tracks(positions, support, scores / count, strengths / count, pixels)
