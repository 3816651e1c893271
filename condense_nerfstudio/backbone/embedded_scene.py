"""A NeRF with the backbone's features: what condensing looks at, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from condense_nerfstudio.backbone.backbone_file import BackboneCard
from condense_nerfstudio.backbone.joint import FeatureVolume, JointModel
from condense_nerfstudio.backbone.marching import march
from condense_nerfstudio.backbone.nerf import Nerf
from condense_nerfstudio.backbone.octree import to_nodes
from condense_nerfstudio.backbone.volume import SceneVolume
from condense_nerfstudio.keypoints.cache import cached_detections
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detections, Detector
from condense_nerfstudio.scene.ray_answers import RayAnswers
from condense_nerfstudio.teachers.registry import LANGUAGE_TEACHER_NAMES

_CHUNK = 4096
"""Rays that are rendered at once."""


class EmbeddedScene:
    """A :class:`PosedScene`: the NeRF says where rays end, the backbone what is there.

    Args:
        nerf: the NeRF.
        volume: made from it.
        model: the backbone.
        card: of the backbone.
        cache: folder of the detector's answers.
    """

    def __init__(self, nerf: Nerf, volume: SceneVolume, model: JointModel, card: BackboneCard, cache: Path) -> None:
        self.nerf = nerf
        self.volume = volume
        self.model = model
        self.card = card
        self._cache = cache
        self._thickness = volume.dense_thickness().to(self.device)
        with torch.no_grad():
            self.features: FeatureVolume = model(to_nodes(volume, device=self.device))

    @property
    def data(self) -> Path:
        return self.nerf.data

    @property
    def images(self) -> Sequence[Path]:
        return [self.nerf.views.images[i] for i in self.nerf.views.indices(held_out=False)]

    @property
    def device(self) -> torch.device:
        return torch.device(self.nerf.model.device)

    @property
    def detector(self) -> DetectorConfig:
        return DetectorConfig(**(self.card.detector or {}))

    @property
    def teacher_cards(self) -> tuple[TeacherCard, ...]:
        return tuple(
            TeacherCard(
                teacher.name,
                teacher.revision,
                teacher.dim,
                "language" if teacher.name in LANGUAGE_TEACHER_NAMES else "visual",
                dict(teacher.config),
            )
            for teacher in self.card.teachers
        )

    def world_to_nerf(self) -> Float[np.ndarray, "4 4"]:
        return self.nerf.world_to_nerf

    def camera(self, index: int) -> Cameras:
        return self.nerf.cameras[index : index + 1]

    def detections(self, detector: Detector, images: Sequence[Path]) -> list[Detections]:
        return cached_detections(images, detector, self._cache)

    @torch.no_grad()
    def look_along(self, rays: RayBundle, features: bool = False) -> RayAnswers:
        parts = [
            self._look_along_chunk(rays[start : start + _CHUNK], features) for start in range(0, len(rays), _CHUNK)
        ]
        keypoints = [part.keypoint for part in parts if part.keypoint is not None]
        names = [teacher.name for teacher in self.card.teachers] if features else []
        return RayAnswers(
            distance=torch.cat([part.distance for part in parts]),
            spread=torch.cat([part.spread for part in parts]),
            accumulation=torch.cat([part.accumulation for part in parts]),
            rgb=torch.cat([part.rgb for part in parts]),
            keypoint=torch.cat(keypoints),
            features={name: torch.cat([part.features[name] for part in parts]) for name in names},
        )

    def _look_along_chunk(self, rays: RayBundle, features: bool) -> RayAnswers:
        seen = self.nerf.model(rays)
        marched = march(self._thickness, self.volume.to_cells(rays.origins), rays.directions)
        rendered = self.model.render(self.features, marched)
        distance = seen["depth"][:, 0]
        return RayAnswers(
            distance=distance,
            spread=torch.full_like(distance, self.volume.side / 2),
            accumulation=seen["accumulation"][:, 0],
            rgb=seen["rgb"],
            keypoint=rendered.keypoint,
            features=rendered.features if features else {},
        )

    def raw(self, teacher: str, centred: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        return self.model.head(teacher).uncenter(centred)
