"""Which scenes look like something, by their local descriptors alone: before any geometry."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from condense_nerfstudio.repository.vectors import Neighbours, VectorSearch

_NEIGHBOURS = 11
"""Nearest vectors that are looked at for each descriptor; the last one tells how near anything is."""
_ASKED, _ASKED_OF_LARGE = 1000, 64
"""Descriptors that vote, the best first: comparing is cheap for many at once, an index takes one after another."""


def votes(
    search: VectorSearch, descriptors: Float[np.ndarray, "n d"], exact: bool = False
) -> Float[np.ndarray, " scenes"]:
    """How much each scene looks like a set of local descriptors.

    Local naive Bayes nearest neighbour (McCann and Lowe, CVPR 2012, algorithm 2): each descriptor gives to each scene
    among its nearest neighbours by how much it is nearer, in squared distance, than the last of these neighbours.

    Args:
        search: of the scenes' descriptors.
        descriptors: unit vectors, the best first.
        exact: compare all descriptors, even of a large repository.

    Returns:
        A number for each scene; 0 for those that look like nothing of it.
    """
    asked = descriptors[: _ASKED_OF_LARGE if search.large and not exact else _ASKED]
    found = search.nearest(asked.astype(np.float32), _NEIGHBOURS, exact)
    return counted(found, search.scenes) / len(asked)


def counted(found: Neighbours, scenes: int) -> Float[np.ndarray, " scenes"]:
    """The sum of all votes for each scene.

    Args:
        found: the neighbours of each descriptor; the last one's similarity is what the others must beat.
        scenes: how many there are.
    """
    gains = 2.0 * (found.similarities - found.similarities[:, -1:])
    totals = np.zeros(scenes)
    for own, gain in zip(found.scenes, gains, strict=True):
        known, first = np.unique(own, return_index=True)  # the nearest of each scene
        valid = known >= 0
        totals[known[valid]] += gain[first[valid]]
    return totals
