"""The connected region of a scene's surface that answers a question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

REACH = 4.0
"""Points are connected over so many times the typical distance of neighbouring points."""

_LEAST_POINTS = 3


@dataclass(frozen=True)
class Region:
    """A connected part of a cloud."""

    indices: Int[np.ndarray, " k"]
    """Its points."""
    box: Float[np.ndarray, "2 3"]
    """Smallest and largest coordinates."""
    centroid: Float[np.ndarray, " 3"]
    score: float
    """Highest relevancy."""
    peak: Float[np.ndarray, " 3"]
    """Where that is."""

    @property
    def size(self) -> Float[np.ndarray, " 3"]:
        """Lengths of the box's sides."""
        return self.box[1] - self.box[0]


def answering_region(
    positions: Float[np.ndarray, "n 3"], relevancy: Float[np.ndarray, " n"], threshold: float
) -> Region | None:
    """Of all connected regions above the threshold, the one with the most relevancy in it.

    Not the one with the highest peak: a single stray point can have that.

    Args:
        positions: points of the surface.
        relevancy: of each point, in 0..1.
        threshold: relevancy above which a point answers.

    Returns:
        The region; None where nothing connected answers.
    """
    answering = np.flatnonzero(relevancy > threshold)
    if len(answering) < _LEAST_POINTS:
        return None
    points = positions[answering]
    pairs = KDTree(points).query_pairs(REACH * typical_gap(positions), output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points)))
    count, label = connected_components(links, directed=False)
    weight = np.bincount(label, weights=relevancy[answering] - threshold, minlength=count)
    own = answering[label == weight.argmax()]
    if len(own) < _LEAST_POINTS:
        return None
    peak = own[relevancy[own].argmax()]
    return Region(
        indices=own,
        box=np.stack([positions[own].min(axis=0), positions[own].max(axis=0)]),
        centroid=positions[own].mean(axis=0),
        score=float(relevancy[peak]),
        peak=positions[peak],
    )


def typical_gap(positions: Float[np.ndarray, "n 3"]) -> float:
    """Median distance of a point from its nearest neighbour."""
    if len(positions) < 2:
        return 0.0
    distance, _ = KDTree(positions).query(positions, k=2)
    return float(np.median(distance[:, 1]))
