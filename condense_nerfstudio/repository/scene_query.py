"""Which scenes of a repository are the same place as another scene, or look like it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints import agreement
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene, LocalPoints
from condense_nerfstudio.keypoints.confidence import among
from condense_nerfstudio.repository.embedding import embedding, embedding_card
from condense_nerfstudio.repository.local_points import laid_over, local_points, triple
from condense_nerfstudio.repository.schema import vectors_table
from condense_nerfstudio.repository.spaces import detector_spaces
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.vectors import VectorSearch

_ALIGNED = 10
"""Scenes, the most alike, with which alignment is tried."""


@dataclass(frozen=True)
class SceneHit:
    """A scene that may be the same place."""

    scene: str
    score: float
    """How much of both scenes agrees, in 0..1, times the confidence in the transform; from SAME_PLACE it is the same
    place. See :func:`agreement.of_scenes`."""
    likeness: float
    """Cosine of the two scenes' embeddings."""
    inliers: int
    """Matches that agree on the transform."""
    query_to_scene: Float[np.ndarray, "4 4"] | None
    """Similarity from the frame of the scene that was asked about to this one's; None where none was found."""
    position: tuple[float, float, float]
    """Of the key point, in this scene's frame."""
    keypoint: int
    """The key point in the midst of what both scenes show; without a transform, the first."""


@dataclass(frozen=True)
class SceneAnswer:
    """What a repository says to a scene."""

    hits: tuple[SceneHit, ...]
    """The best first: by their score, those without a transform by likeness."""
    left_out: tuple[str, ...]
    """Scenes with other networks' descriptors, or another revision's: they were not compared."""


def similar_scenes(store: Store, scene: CondensedScene, top: int = 5, exact: bool = False) -> SceneAnswer:
    """The scenes most like another one; it need not be in the repository, and if it is, it finds itself.

    Args:
        store: the repository.
        scene: what to look for.
        top: how many are wanted.
        exact: compare all embeddings, even of a large repository.

    Raises:
        UserError: the repository is empty, or has no scene with the same detector's descriptors.
    """
    card = scene.detector
    space = next((one for one in detector_spaces(store) if vectors_table(one.card) == vectors_table(card)), None)
    if space is None:
        raise UserError(
            f"No scene of {store.uri} has descriptors of {card.name} {card.revision}, which {scene.id} has: condense "
            "it again with theirs."
        )
    count = min(max(top, _ALIGNED), len(space.entries))
    search = VectorSearch(store, embedding_card(card), space.entries)
    near = search.nearest(embedding(scene.points.descriptors)[None], count, exact)
    own = scene.points.local
    hits = []
    for place, likeness in zip(near.scenes[0], near.similarities[0], strict=True):
        if place >= 0:
            other = local_points(store, space.card, space.entries[place])
            if other is not None:
                hits.append(_hit(space.entries[place].id, own, other, float(likeness), count))
    hits.sort(key=lambda hit: (-hit.score, -hit.likeness))
    return SceneAnswer(tuple(hits[:top]), space.left_out)


def _hit(name: str, own: LocalPoints, other: LocalPoints, likeness: float, tried: int) -> SceneHit:
    """How another scene lies to this one."""
    found = laid_over(own, other)
    if found is None:
        return SceneHit(name, 0.0, likeness, 0, None, triple(other.positions[0]), 0)
    alignment, pairs = found
    common = other.positions[pairs[:, 1]]
    midst = np.linalg.norm(common - np.median(common, axis=0), axis=1).argmin()
    return SceneHit(
        scene=name,
        score=among(alignment.confidence, tried) * agreement.of_scenes(own, other, alignment.a_to_b),
        likeness=likeness,
        inliers=len(pairs),
        query_to_scene=alignment.a_to_b,
        position=triple(common[midst]),
        keypoint=int(pairs[midst, 1]),
    )
