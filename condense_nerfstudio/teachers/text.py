"""Phrases in a language teacher's space, loaded when they are first asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.protocol import LanguageTeacher
from condense_nerfstudio.teachers.registry import load_language_teacher
from condense_nerfstudio.teachers.relevancy import relevancy

MOST_PHRASES = 32
LONGEST_PHRASE = 300
"""Characters; language teachers read no more than a sentence."""


def checked_phrases(phrases: Sequence[str], most: int = MOST_PHRASES) -> tuple[str, ...]:
    """Phrases as they are asked, without spaces around them.

    Args:
        phrases: as they were typed.
        most: how many there may be.

    Raises:
        UserError: there are too many, or one is empty, too long, or holds control characters.
    """
    if len(phrases) > most:
        raise UserError(f"{len(phrases)} phrases are too many at once: ask {most} at most.")
    stripped = tuple(phrase.strip() for phrase in phrases)
    for phrase in stripped:
        if not phrase:
            raise UserError("A phrase is empty: pass phrases such as 'a cat'.")
        if len(phrase) > LONGEST_PHRASE:
            raise UserError(f"A phrase has {len(phrase)} characters: use {LONGEST_PHRASE} at most.")
        if not phrase.isprintable():
            raise UserError(f"The phrase {phrase!r} has control characters: type it anew.")
    return stripped


class TextEncoder:
    """Scores features against phrases.

    The language teacher is loaded at the first question, and its embeddings are kept: a viewer that nobody asks
    anything never loads it. Not an nn.Module, so that no teacher ends up in a checkpoint.

    Args:
        config: the language teacher.
        device: where features are.
    """

    def __init__(self, config: TeacherConfig, device: torch.device | str) -> None:
        self._config = config
        self._device = device
        self._embeddings: dict[tuple[str, ...], Tensor] = {}
        self._teacher: LanguageTeacher | None = None

    @property
    def teacher_name(self) -> str:
        """Name of the language teacher."""
        return self._config.name

    @property
    def threshold(self) -> float:
        """Relevancy above which something answers a phrase; loads the teacher."""
        return self._loaded().relevancy_threshold

    def relevancy(
        self, features: Float[Tensor, "*bs c"], phrases: Sequence[str], negatives: Sequence[str] = ()
    ) -> Float[Tensor, "*bs phrases"]:
        """Relevancy of features to phrases, in 0..1.

        Args:
            features: in the teacher's own space.
            phrases: what to look for.
            negatives: what phrases must beat, beside the teacher's canonical phrases.

        Raises:
            UserError: the language teacher cannot be loaded, or cannot encode text.
        """
        teacher = self._loaded()
        return relevancy(
            features,
            self.encode(tuple(phrases)).to(features),
            self.encode_negatives(negatives).to(features),
            teacher.relevancy_temperature,
        )

    def _loaded(self) -> LanguageTeacher:
        if self._teacher is None:
            self._teacher = load_language_teacher(self._config, self._device)
        return self._teacher

    def encode_negatives(self, negatives: Sequence[str] = ()) -> Float[Tensor, "phrases c"]:
        """Embeddings of what phrases must beat: the teacher's canonical phrases, and the given ones."""
        return self.encode((*self._loaded().canonical_phrases, *negatives))

    def encode(self, phrases: tuple[str, ...]) -> Float[Tensor, "phrases c"]:
        """Embeddings of phrases, kept for the next time.

        Raises:
            UserError: the language teacher cannot be loaded, or cannot encode text.
        """
        if phrases not in self._embeddings:
            self._embeddings[phrases] = self._loaded().encode_text(list(phrases))
        return self._embeddings[phrases]
