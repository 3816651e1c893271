"""Figures of a trained scene: PSNR, how well features are rendered, and how consistent they are between views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from condense_nerfstudio.scene.correspondence import (
    PatchGrid,
    patch_grid,
    share_by_depth,
    share_by_epipolar_line,
    viewing_angle,
)
from condense_nerfstudio.scene.dataset import CondenseDataset
from condense_nerfstudio.scene.depth import depth_intrinsics, depth_on_camera_grid
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.questions import DemoQuestions
from condense_nerfstudio.scene.ray_answers import look_along
from condense_nerfstudio.teachers.registry import load_teacher

MAX_VIEWING_ANGLE = 75.0
MAX_PAIRS = 40


@dataclass
class View:
    """One image of the capture and where it stands."""

    dataset: CondenseDataset
    index: int

    @property
    def camera(self) -> Cameras:
        """The view's camera, of shape (1,)."""
        return self.dataset.cameras[self.index : self.index + 1]

    def z_depth(self, data: Path) -> Float[Tensor, "h w"] | None:
        """True depth along the optical axis in the scene's units, zero where unknown; None where there is none.

        Args:
            data: the capture's folder, whose transforms.json may tell the depth camera's own intrinsics.
        """
        metadata = self.dataset.metadata
        files = metadata.get("depth_filenames") or []
        if not files:
            return None
        unit = metadata["depth_unit_scale_factor"] * self.dataset.dataparser_scale
        depth = torch.from_numpy(np.asarray(Image.open(files[self.index])).astype(np.float32) * unit)
        return depth_on_camera_grid(depth, self.camera, depth_intrinsics(data))


def choose_pairs(held_out: Sequence[View], trained: Sequence[View]) -> tuple[list[tuple[View, View]], str]:
    """Pairs of views to compare, and in words which.

    Pairs of held-out views, wide baselines included, as long as the cameras look in directions less than 75 degrees
    apart; where only one view is held out, it is paired with training views. At most 40 pairs, evenly chosen.
    """
    if len(held_out) > 1:
        pairs, kind = list(combinations(held_out, 2)), "held-out with held-out"
    else:
        pairs, kind = list(product(held_out, trained)), "held-out with training"
    overlapping = [pair for pair in pairs if viewing_angle(pair[0].camera, pair[1].camera) < MAX_VIEWING_ANGLE]
    pairs = overlapping or pairs
    if len(pairs) > MAX_PAIRS:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, MAX_PAIRS).round().astype(int)]
    return pairs, kind


class FeatureEvaluation:
    """Compares one teacher's frozen, adapted and rendered features on views of a scene.

    Args:
        pipeline: the trained scene.
        teacher_name: the teacher.
        views: the views that are going to be compared.
    """

    def __init__(self, pipeline: CondensePipeline, teacher_name: str, views: Sequence[View]) -> None:
        self.pipeline = pipeline
        self.name = teacher_name
        teacher = load_teacher(pipeline.datamanager.teacher_configs[teacher_name], pipeline.device)
        files = [view.dataset.image_filenames[view.index] for view in views]
        maps = pipeline.datamanager.feature_maps(teacher, files)
        self.maps = {(view.dataset, view.index): feature_map for view, feature_map in zip(views, maps, strict=True)}
        self._features: dict[tuple[CondenseDataset, int], tuple[PatchGrid, dict[str, Tensor]]] = {}

    def features(self, view: View) -> tuple[PatchGrid, dict[str, Float[Tensor, "n c"]]]:
        """The view's patches, and their centred features: raw (the frozen teacher), 2d and 3d."""
        key = (view.dataset, view.index)
        if key not in self._features:
            model = self.pipeline.model
            feature_map = torch.from_numpy(np.array(self.maps[key], dtype=np.float32)).to(model.device)
            z_depth = view.z_depth(self.pipeline.datamanager.get_datapath())
            grid = patch_grid(view.camera.to(model.device), (feature_map.shape[0], feature_map.shape[1]), z_depth)
            self._features[key] = (
                grid,
                {
                    "raw": model.head(self.name).center(feature_map).flatten(0, 1),
                    "2d": model.adapt(self.name, feature_map).flatten(0, 1),
                    "3d": look_along(model, grid.rays, features=True).features[self.name],
                },
            )
        return self._features[key]

    def cosine(self, views: Sequence[View]) -> float:
        """Mean centred cosine between the rendered and the frozen teacher's features."""
        values = []
        for view in views:
            _, features = self.features(view)
            values.append(F.cosine_similarity(features["3d"], features["raw"], dim=-1).mean().item())
        return float(np.mean(values))

    def length(self, views: Sequence[View]) -> float:
        """Root mean square of the rendered features as a share of the frozen teacher's; far below 1 is a bad fit."""
        squares = {kind: [self.features(view)[1][kind].square().mean() for view in views] for kind in ("raw", "3d")}
        return float((torch.stack(squares["3d"]).mean() / torch.stack(squares["raw"]).mean()).sqrt())

    def consistency(self, pairs: Sequence[tuple[View, View]]) -> dict[str, Any]:
        """Share of correspondences found again, over all pairs in both directions, by kind of feature."""
        counts = {kind: np.zeros(2) for kind in ("raw", "2d", "3d")}
        measure = "epipolar"
        for first, second in pairs:
            for a, b in ((first, second), (second, first)):
                grid_a, features_a = self.features(a)
                grid_b, features_b = self.features(b)
                by_depth = grid_a.depth is not None and grid_b.depth is not None
                measure = "depth" if by_depth else "epipolar"
                share = share_by_depth if by_depth else share_by_epipolar_line
                for kind, count in counts.items():
                    count += share(grid_a, features_a[kind], grid_b, features_b[kind])
        shares = {kind: float(right / max(total, 1)) for kind, (right, total) in counts.items()}
        return {
            "consistency_2d_raw": shares["raw"],
            "consistency_2d": shares["2d"],
            "consistency_3d": shares["3d"],
            "measure": measure,
            "correspondences": int(counts["raw"][1]),
        }


@torch.no_grad()
def evaluate(pipeline: CondensePipeline) -> dict[str, Any]:
    """Evaluates a trained scene on its held-out views.

    Args:
        pipeline: the scene, in evaluation mode.

    Returns:
        "psnr", "ssim", and for each teacher under "features": "cosine", "length", "consistency_2d_raw" (frozen
        teacher),
        "consistency_2d" (2D branch), "consistency_3d" (rendered), the measure used and what was compared; for demo
        scenes also "questions" (see :class:`DemoQuestions`).

    Raises:
        UserError: a teacher cannot be loaded.
    """
    manager = pipeline.datamanager
    held_out = [View(manager.eval_dataset, i) for i in range(len(manager.eval_dataset))]
    trained = [View(manager.train_dataset, i) for i in range(len(manager.train_dataset))]
    pairs, kind = choose_pairs(held_out, trained)
    views = {(view.dataset, view.index): view for view in [*held_out, *(view for pair in pairs for view in pair)]}
    questions = DemoQuestions.of(pipeline)
    result: dict[str, Any] = {
        **_image_metrics(pipeline, questions),
        "pairs": kind,
        "num_pairs": len(pairs),
        "features": {},
    }
    for name in pipeline.model.heads:
        features = FeatureEvaluation(pipeline, name, list(views.values()))
        result["features"][name] = {
            "cosine": features.cosine(held_out),
            "length": features.length(held_out),
            **features.consistency(pairs),
        }
    return result if questions is None else {**result, "questions": questions.summary()}


def _image_metrics(pipeline: CondensePipeline, questions: DemoQuestions | None) -> dict[str, float]:
    """Mean PSNR and SSIM over the held-out views, each of which is rendered once; its answers go to the questions."""
    rows = []
    loader = pipeline.datamanager.fixed_indices_eval_dataloader
    for camera, batch in track(loader, "Rendering held-out views", len(loader), console=Console(stderr=True)):
        outputs = pipeline.model.get_outputs_for_camera(camera)
        rows.append(pipeline.model.get_image_metrics_and_images(outputs, batch)[0])
        if questions is not None:
            questions.ask(batch["image_idx"], outputs)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
