"""Which scenes answer phrases, and where in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.alignment import extent
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.repository.local_points import triple
from condense_nerfstudio.repository.positions import Positions
from condense_nerfstudio.repository.spaces import Space, teacher_spaces
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.vectors import Vectors, VectorSearch
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.protocol import LanguageTeacher
from condense_nerfstudio.teachers.registry import load_language_teacher
from condense_nerfstudio.teachers.relevancy import relevancy_of_cosines
from condense_nerfstudio.teachers.text import checked_phrases

_READ = 8
"""Scenes whose positions are read together."""
_CANDIDATES = 1000
"""Key points of a large repository that are looked at for a phrase; twice as many where several must be answered."""
FEW = 5
"""Key points that speak for a scene together: one stray point does not win."""
NEAR = 0.05
"""Distance, as a share of a scene's size, within which key points speak for the same place."""


@dataclass(frozen=True)
class Place:
    """Where a scene answers a phrase."""

    phrase: str
    score: float
    """Mean relevancy of the few key points that answer best there."""
    position: tuple[float, float, float]
    """In the data set's world frame."""
    keypoint: int


@dataclass(frozen=True)
class TextHit:
    """A scene that answers."""

    scene: str
    score: float
    """The least of its places' scores: all phrases must be answered."""
    places: tuple[Place, ...]
    """One for each phrase."""


@dataclass(frozen=True)
class TextAnswer:
    """What a repository says to phrases."""

    teacher: str
    revision: str
    hits: tuple[TextHit, ...]
    """The best first."""
    left_out: tuple[str, ...]
    """Scenes whose features are another network's, or another revision's: they were not searched."""


class TextQuestions:
    """Asks one repository; the language teacher is loaded once.

    Args:
        store: the repository.
        teacher: name of the language teacher; None where all scenes have the same one.

    Raises:
        UserError: no scene can be asked, or the teacher cannot be loaded, or is not the one that made the features.
    """

    def __init__(self, store: Store, teacher: str | None = None) -> None:
        self._store = store
        found = teacher_spaces(store, "language", teacher)
        self._space, self._teacher = _with_teacher(store, found)
        self._search = VectorSearch(store, self._space.card, self._space.entries)
        self._positions = Positions(store, self._space.entries)
        self._neutral = self._teacher.encode_text(list(self._teacher.canonical_phrases))

    def ask(
        self, phrases: Sequence[str], top: int = 5, negatives: Sequence[str] = (), exact: bool = False
    ) -> TextAnswer:
        """The scenes that answer all phrases best.

        Args:
            phrases: what to look for.
            top: how many scenes are wanted.
            negatives: what phrases must beat, beside the teacher's canonical phrases.
            exact: compare all key points, even of a large repository.

        Raises:
            UserError: there is no phrase, or it cannot be asked.
        """
        asked = checked_phrases(phrases)
        if not asked:
            raise UserError("Nothing was asked: pass --text with phrases such as 'a cat'.")
        words = self._teacher.encode_text(list(asked))
        others = checked_phrases(negatives)
        beaten = torch.cat([self._neutral, self._teacher.encode_text(list(others))]) if others else self._neutral
        space = self._space
        # What beats neutral phrases lies this way, rather than where the phrase itself is: features share a mean.
        ahead = (words - beaten.mean(dim=0)).cpu().numpy()
        most = _CANDIDATES * min(len(asked), 2)
        found = self._search.candidates(ahead, most, exact)
        heard = torch.nn.functional.normalize(torch.cat([words, beaten]), dim=1).cpu().numpy()
        cosines = torch.from_numpy(heard @ found.values.T)  # by NumPy: torch's threads would wait for LanceDB's
        scores = relevancy_of_cosines(cosines, len(asked), self._teacher.relevancy_temperature).T.numpy()
        hits = self._hits(asked, found, scores, top)
        return TextAnswer(space.card.name, space.card.revision, tuple(hits), space.left_out)

    def _hits(
        self, phrases: Sequence[str], found: Vectors, scores: Float[np.ndarray, "m p"], top: int
    ) -> list[TextHit]:
        """The best scenes; no more are looked at than may be among them."""
        scenes, mosts = _at_most(found.scenes, scores)
        hits: list[TextHit] = []
        for start in range(0, len(scenes), _READ):
            if len(hits) >= top and hits[top - 1].score >= mosts[start]:
                break
            block = scenes[start : start + _READ].tolist()
            read = self._positions.of([self._space.entries[scene] for scene in block])
            known = [(scene, positions) for scene, positions in zip(block, read, strict=True) if positions is not None]
            hits += [self._placed(scene, positions, phrases, found, scores) for scene, positions in known]
            hits.sort(key=lambda hit: -hit.score)
        return hits[:top]

    def _placed(
        self,
        scene: int,
        positions: Float[np.ndarray, "n 3"],
        phrases: Sequence[str],
        found: Vectors,
        scores: Float[np.ndarray, "m p"],
    ) -> TextHit:
        """Where a scene answers each phrase."""
        own = np.flatnonzero(found.scenes == scene)
        size = extent(positions)
        places = []
        for column, phrase in enumerate(phrases):
            best, score = speaking(positions[found.keypoints[own]], scores[own, column], size)
            keypoint = int(found.keypoints[own[best]])
            places.append(Place(phrase, score, triple(positions[keypoint]), keypoint))
        return TextHit(self._space.entries[scene].id, min(place.score for place in places), tuple(places))


def speaking(positions: Float[np.ndarray, "n 3"], scores: Float[np.ndarray, " n"], size: float) -> tuple[int, float]:
    """The key point around which the few that answer best lie, and their mean relevancy.

    Args:
        positions: of key points.
        scores: their relevancy.
        size: of the scene.
    """
    first = np.argsort(-scores, kind="stable")[: 4 * FEW]
    near = np.linalg.norm(positions[first, None] - positions[None, first], axis=2) <= NEAR * size
    values = np.where(near, scores[first], 0.0)
    means = np.sort(values, axis=1)[:, -FEW:].sum(axis=1) / FEW
    best = int(means.argmax())
    return int(first[best]), float(means[best])


def _at_most(
    scenes: Int[np.ndarray, " n"], scores: Float[np.ndarray, "n p"]
) -> tuple[Int[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """Scenes, and what their scores cannot exceed, the largest first: the mean of the few best key points anywhere."""
    order = np.argsort(scenes, kind="stable")
    scores = scores[order]
    scenes, first, own, counts = np.unique(scenes[order], True, True, True)
    table = np.zeros((len(scenes), max(FEW, int(counts.max(initial=0))), scores.shape[1]))
    table[own, np.arange(len(own)) - first[own]] = scores
    mosts = np.partition(table, -FEW, axis=1)[:, -FEW:].sum(axis=1).min(axis=1) / FEW
    order = np.argsort(-mosts, kind="stable")
    return scenes[order], mosts[order]


def _with_teacher(store: Store, found: Sequence[Space[TeacherCard]]) -> tuple[Space[TeacherCard], LanguageTeacher]:
    """The space whose features the teacher made as it is here."""
    teacher = load_language_teacher(TeacherConfig(**found[0].card.config), "cpu")
    for space in found:
        if space.card.revision == teacher.revision:
            return space, teacher
    told = ", ".join(space.card.revision for space in found)
    raise UserError(
        f"The scenes of {store.uri} were condensed with another revision of {teacher.name} ({told}; here "
        f"{teacher.revision}): condense them again, or use its weights."
    )
