"""What is needed of a scene to lay it over another, or to find a photograph in it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from condense_nerfstudio.keypoints.alignment import Alignment, align
from condense_nerfstudio.keypoints.condensed_scene import DetectorCard, LocalPoints
from condense_nerfstudio.keypoints.matching import match
from condense_nerfstudio.repository.log import Entry
from condense_nerfstudio.repository.rows import array
from condense_nerfstudio.repository.schema import POINTS, vectors_table
from condense_nerfstudio.repository.store import Store


def local_points(store: Store, card: DetectorCard, entry: Entry) -> LocalPoints | None:
    """A scene's key points, in their order; None where it has just been replaced or removed.

    Args:
        store: the repository.
        card: the detector.
        entry: the scene.
    """
    rows = store.rows(POINTS, entry, ["index", "position", "normal"]).sort_by("index")
    vectors = store.rows(vectors_table(card), entry, ["index", "vector"]).sort_by("index")
    if len(rows) != entry.count or len(vectors) != entry.count:
        return None
    descriptors = array(vectors, "vector").astype(np.float32)
    return LocalPoints(array(rows, "position"), array(rows, "normal"), descriptors)


def laid_over(a: LocalPoints, b: LocalPoints) -> tuple[Alignment, Int[np.ndarray, "k 2"]] | None:
    """How one scene lies over another.

    Args:
        a: the one.
        b: the other.

    Returns:
        The transform from a's frame to b's, and the pairs of key points (in a, in b) that agree on it; None where too
        few do.
    """
    pairs = match(a.descriptors, b.descriptors)
    alignment = align(a.positions[pairs[:, 0]], b.positions[pairs[:, 1]])
    return None if alignment is None else (alignment, pairs[alignment.inliers])


def triple(position: Float[np.ndarray, " 3"]) -> tuple[float, float, float]:
    """A position as plain numbers."""
    x, y, z = position.tolist()
    return x, y, z
