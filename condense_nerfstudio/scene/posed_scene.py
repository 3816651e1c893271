"""What condensing asks of a scene, and how a training of our own methods answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.pipelines.base_pipeline import VanillaPipeline
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detections, Detector
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.ray_answers import RayAnswers, look_along
from condense_nerfstudio.teachers.registry import teacher_role


@runtime_checkable
class PosedScene(Protocol):
    """A scene with photographs whose cameras are known, and features along any ray."""

    @property
    def data(self) -> Path:
        """The capture's folder."""
        ...

    @property
    def images(self) -> Sequence[Path]:
        """The photographs."""
        ...

    @property
    def device(self) -> torch.device:
        """Where rays are wanted."""
        ...

    @property
    def detector(self) -> DetectorConfig:
        """What finds key points in the photographs."""
        ...

    @property
    def teacher_cards(self) -> tuple[TeacherCard, ...]:
        """The teachers of its features."""
        ...

    def world_to_nerf(self) -> Float[np.ndarray, "4 4"]:
        """See world_frame.world_to_nerf."""
        ...

    def camera(self, index: int) -> Cameras:
        """The camera of a photograph, of shape (1,), in the scene's frame."""
        ...

    def detections(self, detector: Detector, images: Sequence[Path]) -> list[Detections]:
        """A detector's key points of photographs, from the cache where they are there."""
        ...

    def look_along(self, rays: RayBundle, features: bool = False) -> RayAnswers:
        """Answers along rays of shape (rays,), of which key points are one; see ray_answers.look_along."""
        ...

    def raw(self, teacher: str, centred: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Centred features in the teacher's own space."""
        ...


class TrainedScene:
    """A training of condense or condense-lite as a :class:`PosedScene`.

    Args:
        pipeline: of the training, in evaluation mode.

    Raises:
        UserError: it has no key-point head.
    """

    def __init__(self, pipeline: CondensePipeline) -> None:
        if pipeline.model.keypoints is None:
            raise UserError(
                "The checkpoint has no key-point head: train the scene again with a detector "
                "(--pipeline.datamanager.detector.name xfeat) and a teacher."
            )
        self.pipeline = pipeline

    @property
    def data(self) -> Path:
        return self.pipeline.datamanager.get_datapath()

    @property
    def images(self) -> Sequence[Path]:
        return self.pipeline.datamanager.train_dataset.image_filenames

    @property
    def device(self) -> torch.device:
        return self.pipeline.model.device

    @property
    def detector(self) -> DetectorConfig:
        return self.pipeline.datamanager.config.detector

    @property
    def teacher_cards(self) -> tuple[TeacherCard, ...]:
        cards = []
        for name, config in self.pipeline.datamanager.teacher_configs.items():
            head = self.pipeline.model.head(name)
            cards.append(TeacherCard(name, head.revision, head.dim, teacher_role(name), asdict(config)))
        return tuple(cards)

    def world_to_nerf(self) -> Float[np.ndarray, "4 4"]:
        return self.pipeline.datamanager.world_to_nerf()

    def camera(self, index: int) -> Cameras:
        return refined_camera(self.pipeline, index)

    def detections(self, detector: Detector, images: Sequence[Path]) -> list[Detections]:
        return self.pipeline.datamanager.detections(detector, images)

    def look_along(self, rays: RayBundle, features: bool = False) -> RayAnswers:
        return look_along(self.pipeline.model, rays, features)

    def raw(self, teacher: str, centred: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        return self.pipeline.model.head(teacher).uncenter(centred)


@torch.no_grad()
def refined_camera(pipeline: VanillaPipeline, index: int) -> Cameras:
    """A training photograph's camera, of shape (1,), where the training of any method has moved it to."""
    dataset = pipeline.datamanager.train_dataset
    assert dataset is not None
    camera = dataset.cameras[index : index + 1].to(pipeline.model.device)
    optimizer = getattr(pipeline.model, "camera_optimizer", None)
    if optimizer is not None:
        camera.metadata = {"cam_idx": index}
        camera.camera_to_worlds = optimizer.apply_to_camera(camera)
        camera.metadata = None
    return camera
