"""What a rendered view shows beside colour, depth and features: answers to questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from condense_nerfstudio.scene.model import CondenseModel


@dataclass(frozen=True)
class Lens:
    """The questions that views answer. One never changes, so that all chunks of a view answer the same ones."""

    phrases: tuple[str, ...] = ()
    """Each becomes an output relevancy_<i>, in this order."""
    negatives: tuple[str, ...] = ()
    """What phrases must beat, beside the language teacher's canonical phrases."""

    def look(
        self, model: CondenseModel, rgb: Float[Tensor, "rays 3"], features: Mapping[str, Float[Tensor, "rays _"]]
    ) -> dict[str, Float[Tensor, "rays channels"]]:
        """More outputs for a chunk of rays.

        Args:
            model: the scene.
            rgb: rendered colours.
            features: rendered features, centred, by teacher.

        Returns:
            relevancy_<i>, of shape (rays, 1), for every phrase; nothing where the scene cannot answer text.
        """
        text = model.text
        if not self.phrases or text is None or text.teacher_name not in features:
            return {}
        raw = model.head(text.teacher_name).uncenter(features[text.teacher_name])
        scores = text.relevancy(raw, self.phrases, self.negatives)
        return {f"relevancy_{i}": scores[:, i : i + 1] for i in range(len(self.phrases))}

    def finish(self, view: dict[str, Float[Tensor, "h w channels"]]) -> dict[str, Float[Tensor, "h w channels"]]:
        """The outputs of a whole view as they leave the model."""
        return view


def answer_strength(relevancy: Float[Tensor, "*bs"], threshold: float) -> Float[Tensor, "*bs"]:
    """How strongly a picture shows that something answers a phrase.

    Args:
        relevancy: of the phrase.
        threshold: relevancy at which the strength is one half; it is 1 above 1.1 times that, and 0 below 0.9 times it.
    """
    return (5.0 * (relevancy / max(threshold, 1e-6) - 1.0) + 0.5).clamp(0.0, 1.0)
