"""Which points of many a scene is condensed into."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree


def suppress_near(
    positions: Float[np.ndarray, "n 3"], scores: Float[np.ndarray, " n"], radii: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " k"]:
    """Non-maximum suppression in 3D: of points within each other's radius, the best stays.

    Args:
        positions: the points.
        scores: the higher, the better.
        radii: a point suppresses what lies within its own radius.

    Returns:
        Indices of the points that stay, the best first.
    """
    order = np.argsort(-scores, kind="stable")
    if not len(order):
        return order
    neighbours = KDTree(positions).query_ball_point(positions, radii)
    alive, kept = np.ones(len(positions), dtype=bool), []
    for i in order:
        if alive[i]:
            alive[neighbours[i]] = False
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def best_without_crowds(
    positions: Float[np.ndarray, "n 3"],
    scores: Float[np.ndarray, " n"],
    count: int,
    reach: float,
    most: int,
) -> Int[np.ndarray, " k"]:
    """The best points, without those that have many better ones around them while others are left.

    Without a limit, points pile up on one textured spot, and photographs of the rest show none. Where points are spread
    evenly instead (adaptive non-maximal suppression: Brown, Szeliski and Winder, CVPR 2005), many are kept that another
    training would not have chosen: measured in docs/key_points.md.

    Args:
        positions: the points.
        scores: the higher, the better.
        count: how many to choose; all where there are fewer.
        reach: distance within which points crowd each other.
        most: chosen, and so better, points within that distance of a point from which on it is left out.

    Returns:
        Indices of the chosen points, the best first.
    """
    order = np.argsort(-scores, kind="stable")
    if len(order) <= count:
        return order
    tree = KDTree(positions)
    around = np.zeros(len(positions), dtype=np.int64)
    chosen, crowded = [], []
    for i in order:
        if around[i] >= most:
            crowded.append(i)
            continue
        chosen.append(i)
        around[tree.query_ball_point(positions[i], reach)] += 1
        if len(chosen) == count:
            break
    chosen = np.array([*chosen, *crowded][:count], dtype=np.int64)
    return chosen[np.argsort(-scores[chosen], kind="stable")]
