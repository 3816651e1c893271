"""Which key points of two sets are the same, by their descriptors alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

MAX_RATIO = 0.95
"""How near the best match must be, compared with the second best, to count (Lowe, IJCV 2004, section 7.1)."""


def match(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], max_ratio: float = MAX_RATIO
) -> Int[np.ndarray, "k 2"]:
    """Mutual nearest neighbours that pass the ratio test in both directions, the most similar first.

    Args:
        a: unit vectors.
        b: unit vectors.
        max_ratio: largest distance to the nearest neighbour, as a share of that to the second nearest; 1 lets every
            mutual pair pass.

    Returns:
        Pairs (index in a, index in b); each index stands in one pair at most.
    """
    if not len(a) or not len(b):
        return np.empty((0, 2), dtype=np.int64)
    similarity = a.astype(np.float32) @ b.astype(np.float32).T
    forward, backward = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.flatnonzero(backward[forward] == np.arange(len(a)))
    columns = forward[rows]
    best = similarity[rows, columns]
    second = np.maximum(_second(similarity[rows]), _second(similarity[:, columns].T))
    # Strictly nearer: of two exact copies, neither is meant.
    clear = (_distance(best) < max_ratio * _distance(second)) | (max_ratio >= 1.0)
    order = np.argsort(-best[clear], kind="stable")
    return np.stack([rows[clear][order], columns[clear][order]], axis=1)


def _second(similarity: Float[np.ndarray, "k n"]) -> Float[np.ndarray, " k"]:
    """The second largest value of each row; no similarity at all where there is one value only."""
    if similarity.shape[1] < 2:
        return np.full(len(similarity), -1.0, dtype=np.float32)
    return np.partition(similarity, -2, axis=1)[:, -2]


def _distance(cosine: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Distance of unit vectors with a given cosine."""
    return np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
