"""Text questions with known answers: do phrases find their objects in the held-out views of a demo scene?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from PIL import Image
from rich.console import Console
from rich.progress import track
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


@torch.no_grad()
def ask_demo_scene(pipeline: CondensePipeline) -> dict[str, Any] | None:
    """Asks for every object of a demo scene in every held-out view that shows it.

    Args:
        pipeline: a trained demo scene, in evaluation mode; its phrases are set to the scene's.

    Returns:
        "peak" (share of questions whose highest relevancy lies on the right object), "iou" (mean), "threshold" (the
        language teacher's own), "asked" (number of questions), "phrases" (peak and iou of each); None where there is
        no ground truth, or no language teacher.

    Raises:
        UserError: the ground truth is broken, or the language teacher cannot be loaded.
    """
    folder = Path(pipeline.datamanager.get_datapath())
    if pipeline.model.text is None or not (folder / GROUND_TRUTH_FILE).exists():
        return None
    truth = load_ground_truth(folder)
    threshold = pipeline.model.text.threshold
    masks = {frame.image.name: frame.instances for frame in truth.frames}
    ids: dict[str, set[int]] = {}
    for entry in truth.objects:
        if entry.phrase is not None:
            ids.setdefault(entry.phrase, set()).add(entry.id)
    pipeline.model.config.phrases = tuple(ids)
    dataset = pipeline.datamanager.eval_dataset
    answers = []
    loader = pipeline.datamanager.fixed_indices_eval_dataloader
    for camera, batch in track(loader, "Asking for objects", len(loader), console=Console(stderr=True)):
        index = batch["image_idx"]
        mask = Image.open(masks[dataset.image_filenames[index].name])
        instances = np.asarray(mask.resize(dataset.camera_size(index), resample=Image.Resampling.NEAREST))
        outputs = pipeline.model.get_outputs_for_camera(camera)
        for i, phrase in enumerate(ids):
            on_object = np.isin(instances, list(ids[phrase]))
            if on_object.mean() >= LEAST_SHARE:
                answers.append(judge(phrase, outputs[f"relevancy_{i}"][..., 0], on_object, threshold))
    by_phrase = {phrase: [answer for answer in answers if answer.phrase == phrase] for phrase in ids}
    summaries = {phrase: _summary(found) for phrase, found in by_phrase.items() if found}
    return {**_summary(answers), "threshold": threshold, "asked": len(answers), "phrases": summaries}


def _summary(answers: list[Answer]) -> dict[str, float]:
    return {
        "peak": float(np.mean([answer.peak_on_object for answer in answers])),
        "iou": float(np.mean([answer.iou for answer in answers])),
    }
