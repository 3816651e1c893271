"""Which scenes of a repository are the same place, whatever their cameras, frame, scale or exposure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints import agreement
from condense_nerfstudio.keypoints.condensed_scene import DetectorCard, LocalPoints
from condense_nerfstudio.keypoints.confidence import among
from condense_nerfstudio.repository.embedding import embedding_card
from condense_nerfstudio.repository.local_points import laid_over, local_points
from condense_nerfstudio.repository.spaces import Space, detector_spaces
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.vectors import VectorSearch

NEIGHBOURS = 10
"""Scenes, the most alike, with which each is compared."""
_BLOCK = 256
"""Scenes whose neighbours are looked up together."""
_KEPT = 2000
"""Scenes whose points are kept in memory: neighbours come back often."""


@dataclass(frozen=True)
class Duplicate:
    """Two scenes that are the same place."""

    a: str
    b: str
    score: float
    """How much of both scenes agrees, in 0..1, times the confidence in the transform; see
    :func:`agreement.of_scenes`."""
    inliers: int
    """Matches that agree on the transform."""
    a_to_b: Float[np.ndarray, "4 4"]
    """Similarity from a's frame to b's."""


def duplicates(
    store: Store,
    neighbours: int = NEIGHBOURS,
    least: float = agreement.SAME_PLACE,
    report: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> list[Duplicate]:
    """All pairs of scenes that are the same place, the surest first.

    Every scene is laid over those whose embeddings are nearest to its own, so the work grows with the number of scenes
    and not with its square. Scenes with different detectors are not compared.

    Args:
        store: the repository.
        neighbours: with how many scenes each is compared.
        least: score from which two scenes count as the same place.
        report: told how many pairs have been compared, of how many.

    Raises:
        UserError: the repository is empty, or the number of neighbours is below 1.
    """
    if neighbours < 1:
        raise UserError(f"--neighbours is {neighbours}: give a positive number.")
    all_spaces = detector_spaces(store)
    work = [(number, pair) for number, space in enumerate(all_spaces) for pair in _likely(store, space, neighbours)]

    @lru_cache(_KEPT)
    def points(number: int, place: int) -> LocalPoints | None:
        """A scene's key points."""
        space = all_spaces[number]
        return local_points(store, space.card, space.entries[place])

    found = []
    for done, (number, (first, second)) in enumerate(work, start=1):
        a, b = points(number, first), points(number, second)
        if a is not None and b is not None and (laid := laid_over(a, b)) is not None:
            alignment, pairs = laid
            score = among(alignment.confidence, neighbours) * agreement.of_scenes(a, b, alignment.a_to_b)
            if score >= least:
                entries = all_spaces[number].entries
                ids = entries[first].id, entries[second].id
                found.append(Duplicate(*ids, score, len(pairs), alignment.a_to_b))
        report(done, len(work))
    return sorted(found, key=lambda one: (-one.score, one.a, one.b))


def _likely(store: Store, space: Space[DetectorCard], neighbours: int) -> list[tuple[int, int]]:
    """Places of scenes of which one is among the other's nearest, the smaller first."""
    search = VectorSearch(store, embedding_card(space.card), space.entries)
    vectors = search.all()
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(vectors.scenes), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = search.nearest(vectors.values[block], neighbours + 1)
        for scene, others in zip(vectors.scenes[block].tolist(), near.scenes.tolist(), strict=True):
            pairs |= {(min(scene, other), max(scene, other)) for other in others if other >= 0}
    return sorted((a, b) for a, b in pairs if a != b)
