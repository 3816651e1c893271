"""Text questions with known answers: do phrases find their objects in the held-out views of a demo scene?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from condense_nerfstudio.demo.ground_truth import GROUND_TRUTH_FILE, load_ground_truth
from condense_nerfstudio.scene.pipeline import CondensePipeline

LEAST_SHARE = 0.01
"""Objects that cover less of a view than this are not asked for in it."""


@dataclass(frozen=True)
class Answer:
    """How one phrase did in one view."""

    phrase: str
    peak_on_object: bool
    """Whether the pixel of highest relevancy belongs to the object."""
    iou: float
    """Intersection over union of the answering pixels and the object's."""


def judge(phrase: str, relevancy: Float[Tensor, "h w"], on_object: npt.NDArray[np.bool_], threshold: float) -> Answer:
    """Compares one relevancy map with the true mask.

    Args:
        phrase: what was asked.
        relevancy: of the rendered view.
        on_object: the true pixels, of the same shape.
        threshold: relevancy above which a pixel answers.
    """
    scores = relevancy.cpu().numpy()
    answering = scores > threshold
    union = (answering | on_object).sum()
    iou = float((answering & on_object).sum() / union) if union else 0.0
    return Answer(phrase, bool(on_object.flat[scores.argmax()]), iou)


class DemoQuestions:
    """Asks for every object of a demo scene in every view that shows it.

    Args:
        pipeline: a trained demo scene, in evaluation mode; its phrases are set to the scene's, so that every rendered
            view answers all of them.

    Raises:
        UserError: the ground truth is broken, or the language teacher cannot be loaded.
    """

    def __init__(self, pipeline: CondensePipeline) -> None:
        assert pipeline.model.text is not None
        truth = load_ground_truth(Path(pipeline.datamanager.get_datapath()))
        self.threshold = pipeline.model.text.threshold
        self._dataset = pipeline.datamanager.eval_dataset
        self._masks = {frame.image.name: frame.instances for frame in truth.frames}
        self._ids: dict[str, set[int]] = {}
        for entry in truth.objects:
            if entry.phrase is not None:
                self._ids.setdefault(entry.phrase, set()).add(entry.id)
        pipeline.model.config.phrases = tuple(self._ids)
        self._answers: list[Answer] = []

    @classmethod
    def of(cls, pipeline: CondensePipeline) -> DemoQuestions | None:
        """The questions of a scene; None where there is no ground truth, or no language teacher."""
        truth = Path(pipeline.datamanager.get_datapath()) / GROUND_TRUTH_FILE
        return cls(pipeline) if pipeline.model.text is not None and truth.exists() else None

    def ask(self, index: int, outputs: Mapping[str, Tensor]) -> None:
        """Judges what a rendered view answers.

        Args:
            index: the held-out view.
            outputs: the model's outputs for it.
        """
        for i, phrase, on_object in self.of_view(index):
            self._answers.append(judge(phrase, outputs[f"relevancy_{i}"][..., 0], on_object, self.threshold))

    def of_view(self, index: int) -> Iterator[tuple[int, str, npt.NDArray[np.bool_]]]:
        """The questions that a held-out view can answer.

        Args:
            index: the view.

        Yields:
            The number of the output relevancy_<i>, the phrase, and the pixels of its object.
        """
        mask = Image.open(self._masks[self._dataset.image_filenames[index].name])
        instances = np.asarray(mask.resize(self._dataset.camera_size(index), resample=Image.Resampling.NEAREST))
        for i, (phrase, ids) in enumerate(self._ids.items()):
            on_object = np.isin(instances, list(ids))
            if on_object.mean() >= LEAST_SHARE:
                yield i, phrase, on_object

    def summary(self) -> dict[str, Any]:
        """How the questions asked so far went.

        Returns:
            "peak" (share of questions whose highest relevancy lies on the right object) and "iou" (mean), both absent
            where nothing could be asked; "threshold" (the language teacher's own), "asked" (number of questions),
            "phrases" (peak and iou of each).
        """
        by_phrase = {phrase: [answer for answer in self._answers if answer.phrase == phrase] for phrase in self._ids}
        return {
            **_means(self._answers),
            "threshold": self.threshold,
            "asked": len(self._answers),
            "phrases": {phrase: _means(found) for phrase, found in by_phrase.items() if found},
        }


def _means(answers: list[Answer]) -> dict[str, float]:
    """Share of right peaks and mean overlap."""
    if not answers:
        return {}
    return {
        "peak": float(np.mean([answer.peak_on_object for answer in answers])),
        "iou": float(np.mean([answer.iou for answer in answers])),
    }
