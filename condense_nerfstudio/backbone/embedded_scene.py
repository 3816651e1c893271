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
from condense_nerfstudio.backbone.joint_step import lifted_features
from condense_nerfstudio.backbone.marching import march
from condense_nerfstudio.backbone.nerf import Nerf
from condense_nerfstudio.backbone.octree import Nodes, to_nodes
from condense_nerfstudio.backbone.scenes import Scene
from condense_nerfstudio.backbone.views import Views
from condense_nerfstudio.backbone.volume import SceneVolume
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.cache import cached_detections
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detections, Detector
from condense_nerfstudio.scene.ray_answers import RayAnswers
from condense_nerfstudio.spread import evenly_chosen
from condense_nerfstudio.teachers.cache import cached_feature_maps
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.registry import load_teacher

_CHUNK = 4096
"""Rays that are rendered at once."""


class EmbeddedScene:
    """A :class:`PosedScene`: the NeRF says where rays end, the backbone what is there.

    Args:
        nerf: the NeRF.
        volume: made from it.
        model: the backbone.
        card: of the backbone.
        cache: folder of the teachers' and the detector's answers.
        photographs: how many training photographs are lifted into the backbone's input.

    Raises:
        UserError: photographs are wanted and a teacher cannot be loaded, or is not the one of the backbone, or peft is
            missing for its LoRA.
    """

    def __init__(
        self,
        nerf: Nerf,
        volume: SceneVolume,
        model: JointModel,
        card: BackboneCard,
        cache: Path,
        photographs: int = 0,
    ) -> None:
        self.nerf = nerf
        self.volume = volume
        self.model = model
        self.card = card
        self._cache = cache
        self._thickness = volume.dense_thickness().to(self.device)
        with torch.no_grad():
            nodes = to_nodes(volume, device=self.device)
            self.features: FeatureVolume = model(nodes, self._lifted(nodes, photographs) if photographs else None)

    def _lifted(self, nodes: Nodes, count: int) -> Float[Tensor, "nodes _"]:
        """What photographs, evenly chosen, show at the nodes."""
        files = self.images
        chosen = evenly_chosen(len(files), count)
        maps = {}
        for record in self.card.teachers:
            teacher = load_teacher(TeacherConfig(**record.config), self.device)
            if teacher.revision != record.revision:
                raise UserError(
                    f"The teacher {record.name} is not the one that the backbone learned from (revision "
                    f"{record.revision}, here {teacher.revision}): use its weights, or embed without --photographs."
                )
            self.model.tune(teacher)
            if record.name not in self.model.config.lora:  # a teacher with LoRA is run on the photographs
                maps[record.name] = cached_feature_maps([files[i] for i in chosen], teacher, self._cache)
        cameras = self.nerf.cameras[torch.tensor(chosen)]
        views = Views([files[i] for i in chosen], cameras, [False] * len(chosen))
        scene = Scene(self.data.name, self.volume, views, maps, [])
        return lifted_features(self.model, scene, self._thickness, nodes, range(len(chosen)))

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
        """The teachers that the backbone learned from."""
        return self.card.teachers

    def world_to_nerf(self) -> Float[np.ndarray, "4 4"]:
        return self.nerf.world_to_nerf

    def camera(self, index: int) -> Cameras:
        return self.nerf.cameras[index : index + 1]

    def detections(self, detector: Detector, images: Sequence[Path]) -> list[Detections]:
        return cached_detections(images, detector, self._cache)

    @torch.no_grad()
    def look_along(self, rays: RayBundle, features: bool = False) -> RayAnswers:
        """Distance, opacity and colour from the NeRF; key points and features from the feature volume."""
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
