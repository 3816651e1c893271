"""The scene's surface as a cloud of points with features: where questions about places are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.posed_scene import refined_camera
from condense_nerfstudio.scene.ray_answers import RayAnswers, look_along
from condense_nerfstudio.scene.surface import LEAST_ACCUMULATION

MAX_SPREAD = 0.1
"""Rays whose end is more uncertain than this share of its distance meet no surface."""


@dataclass
class SurfaceCloud:
    """Points of the surface, in the scene's frame."""

    positions: Float[Tensor, "n 3"]
    colors: Float[Tensor, "n 3"]
    """RGB in 0..1."""
    features: dict[str, Float[Tensor, "n c"]]
    """R, centred, by teacher."""

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: Bool[np.ndarray, " n"] | Int[np.ndarray, " k"]) -> SurfaceCloud:
        """Some of the points."""
        index = torch.from_numpy(chosen).to(self.positions.device)
        features = {name: values[index] for name, values in self.features.items()}
        return SurfaceCloud(self.positions[index], self.colors[index], features)


def sample_surface(
    pipeline: CondensePipeline, count: int, progress: Callable[[float], None] = lambda share: None
) -> SurfaceCloud:
    """Where rays through random pixels of all training photographs meet the surface; the same ones every time.

    Args:
        pipeline: the scene.
        count: rays; points are fewer where rays meet nothing.
        progress: told the share that is done.
    """
    parts, done = [], 0
    for rays in _random_rays(pipeline, count):
        answers = look_along(pipeline.model, rays, features=True)
        sure = on_surface(answers)
        positions = rays.origins + answers.distance[:, None] * rays.directions
        features = {name: values[sure] for name, values in answers.features.items()}
        parts.append(SurfaceCloud(positions[sure], answers.rgb[sure].clamp(0, 1), features))
        done += len(rays)
        progress(done / count)
    return SurfaceCloud(
        positions=torch.cat([part.positions for part in parts]),
        colors=torch.cat([part.colors for part in parts]),
        features={name: torch.cat([part.features[name] for part in parts]) for name in parts[0].features},
    )


def on_surface(answers: RayAnswers) -> Bool[Tensor, " rays"]:
    """Whether rays surely end on a surface."""
    return (answers.accumulation > LEAST_ACCUMULATION) & (answers.spread <= MAX_SPREAD * answers.distance)


def _random_rays(pipeline: CondensePipeline, count: int) -> Iterator[RayBundle]:
    """Rays through random pixels, photograph by photograph."""
    random = torch.Generator().manual_seed(0)
    photographs = len(pipeline.datamanager.train_dataset)
    chosen = torch.randint(photographs, (count,), generator=random)
    for index in chosen.unique().tolist():
        camera = refined_camera(pipeline, index)
        own = int((chosen == index).sum())
        size = torch.tensor([float(camera.height), float(camera.width)])
        coords = (torch.rand(own, 2, generator=random) * size).to(camera.device)
        yield camera.generate_rays(torch.zeros(own, 1, dtype=torch.long, device=camera.device), coords=coords)
