"""Which scenes answer phrases, and where in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from condense_nerfstudio.errors import UserError
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

_CANDIDATES = 1000
"""Key points of a large repository that are looked at for a phrase; twice as many where several must be answered."""
_FOREMOST = 4
"""Times as many scenes as are wanted whose features are read: an index knows distances roughly."""
FEW = 5
"""Key points that speak for a scene together: one stray point does not win."""


@dataclass(frozen=True)
class Place:
    """Where a scene answers a phrase."""

    phrase: str
    score: float
    """Mean cosine of the few key points of the scene that answer best; their relevancy where negatives were given."""
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
            negatives: what phrases must beat, together with the teacher's canonical phrases. Without them phrases are
                compared alone, which finds more scenes and places (docs/repository.md).
            exact: compare all key points, even of a large repository.

        Raises:
            UserError: there is no phrase, or it cannot be asked.
        """
        asked = checked_phrases(phrases)
        if not asked:
            raise UserError("Nothing was asked: pass --text with phrases such as 'a cat'.")
        words = self._teacher.encode_text(list(asked))
        others = checked_phrases(negatives)
        beaten = torch.cat([self._neutral, self._teacher.encode_text(list(others))]) if others else self._neutral[:0]
        # What beats negatives lies this way, rather than where the phrase itself is: features share a mean.
        ahead = words - beaten.mean(dim=0) if others else words
        most = _CANDIDATES * min(len(asked), 2)
        alone = len(asked) == 1 and not others  # then the index has the same order
        found = self._search.candidates(ahead.cpu().numpy(), most, exact, _FOREMOST * top if alone else None)
        hits = self._hits(asked, found, self._scores(words, beaten, found), top)
        return TextAnswer(self._space.card.name, self._space.card.revision, tuple(hits), self._space.left_out)

    def _scores(
        self, words: Float[torch.Tensor, "p c"], beaten: Float[torch.Tensor, "b c"], found: Vectors
    ) -> Float[np.ndarray, "m p"]:
        """How well each key point answers each phrase."""
        heard = torch.nn.functional.normalize(torch.cat([words, beaten]), dim=1).cpu().numpy()
        cosines = heard @ found.values.T  # by NumPy: torch's threads would wait for LanceDB's
        if not len(beaten):
            return cosines.T
        temperature = self._teacher.relevancy_temperature
        return relevancy_of_cosines(torch.from_numpy(cosines), len(words), temperature).T.numpy()

    def _hits(
        self, phrases: Sequence[str], found: Vectors, scores: Float[np.ndarray, "m p"], top: int
    ) -> list[TextHit]:
        """The best scenes."""
        scenes, means, speakers = _speakers(found.scenes, scores)
        hits: list[TextHit] = []
        for start in range(0, len(scenes), top):
            block = slice(start, start + top)
            entries = [self._space.entries[scene] for scene in scenes[block]]
            numbers = [found.keypoints[rows] for rows in speakers[block]]
            for entry, own, mean, positions in zip(
                entries,
                numbers,
                means[block],
                self._positions.of(entries, [own.ravel() for own in numbers]),
                strict=True,
            ):
                if positions is not None:  # else it has just been replaced or removed
                    hits.append(_placed(entry.id, phrases, mean, own, positions.reshape(*own.shape, 3)))
            if len(hits) >= top:
                break
        return hits[:top]


def _placed(
    scene: str,
    phrases: Sequence[str],
    means: Float[np.ndarray, " p"],
    keypoints: Int[np.ndarray, "p k"],
    positions: Float[np.ndarray, "p k 3"],
) -> TextHit:
    """Where a scene answers each phrase."""
    places = []
    for phrase, mean, numbers, where in zip(phrases, means.tolist(), keypoints, positions, strict=True):
        best = amid(where)
        places.append(Place(phrase, mean, triple(where[best]), int(numbers[best])))
    return TextHit(scene, min(place.score for place in places), tuple(places))


def amid(positions: Float[np.ndarray, "k 3"]) -> int:
    """Which of the key points that speak for a scene is in their midst: half of them are nearest to it.

    Args:
        positions: of key points, those that answer best first.
    """
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    return int(np.median(distances, axis=1).argmin())


def _speakers(
    scenes: Int[np.ndarray, " m"], scores: Float[np.ndarray, "m p"]
) -> tuple[Int[np.ndarray, " s"], Float[np.ndarray, "s p"], Int[np.ndarray, "s p k"]]:
    """Which of all key points speak for each scene, the best scene first.

    Returns:
        Scenes; the mean score of the few that answer each phrase best, the least of which decides; and which these are,
        the best first. Where a scene has fewer, its best stands for the others, which score no more than all that are.
    """
    order = np.argsort(scenes, kind="stable")
    found, first, own, counts = np.unique(scenes[order], True, True, True)
    table = np.tile(scores.min(axis=0, initial=1.0), (len(found), max(FEW, int(counts.max(initial=0))), 1))
    table[own, np.arange(len(own)) - first[own]] = scores[order]
    columns = np.argsort(-table, axis=1, kind="stable")[:, :FEW]
    means = np.take_along_axis(table, columns, axis=1).mean(axis=1)
    columns = np.where(columns < counts[:, None, None], columns, columns[:, :1])
    speakers = order[first[:, None, None] + columns].swapaxes(1, 2)
    best = np.argsort(-means.min(axis=1), kind="stable")
    return found[best], means[best], speakers[best]


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
