"""The scenes of a cross-scene training: volumes, photographs and feature maps, all of them mapped from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.backbone.marching import March, march
from condense_nerfstudio.backbone.views import Views, read_views
from condense_nerfstudio.backbone.volume import SceneVolume, read_volume
from condense_nerfstudio.keypoints.cache import cached_detections
from condense_nerfstudio.keypoints.detection import Detector
from condense_nerfstudio.scene.data_manager import FeatureTarget
from condense_nerfstudio.scene.surface import Surface
from condense_nerfstudio.teachers.cache import cached_feature_maps
from condense_nerfstudio.teachers.protocol import Teacher

VOLUME_FILE, VIEWS_FILE = "volume.safetensors", "views.json"
LEAST_OPACITY = 0.1
"""Of a ray through a volume, below which it is taken to have met nothing: thresholds have taken much of fuzzy walls."""


@dataclass(frozen=True)
class Scene:
    """One scene; arrays and tensors read their files as they are touched."""

    name: str
    volume: SceneVolume
    views: Views
    maps: Mapping[str, Sequence[np.ndarray]]
    """Of every photograph, by teacher."""
    heat: Sequence[np.ndarray]
    """The detector's heat map of every photograph; empty where there is no detector."""


@dataclass(frozen=True)
class Look:
    """Rays into a scene through pixels of some of its photographs."""

    targets: list[FeatureTarget]
    marched: March
    surface: Surface


def open_scene(folder: Path, teachers: Sequence[Teacher], detector: Detector | None, cache: Path) -> Scene:
    """Opens a scene's volume and views; computes the feature maps that are not in the cache.

    Args:
        folder: with the two files.
        teachers: whose maps are wanted.
        detector: whose heat maps are wanted.
        cache: the cache's folder.

    Raises:
        UserError: a file is missing or broken.
    """
    views = read_views(folder / VIEWS_FILE)
    found = [] if detector is None else cached_detections(views.images, detector, cache)
    return Scene(
        name=folder.name,
        volume=read_volume(folder / VOLUME_FILE),
        views=views,
        maps={teacher.name: cached_feature_maps(views.images, teacher, cache) for teacher in teachers},
        heat=[detections.heat for detections in found],
    )


def look(
    scene: Scene,
    thickness: Float[Tensor, "r r r"],
    images: Sequence[int],
    pixels: Sequence[Float[Tensor, "_ 2"]],
    device: torch.device | str,
) -> Look:
    """Rays through pixels of photographs, those that meet the scene.

    Args:
        scene: the scene.
        thickness: of its volume, dense.
        images: which photographs.
        pixels: continuous column and row in each of them, in its camera's pixels.
        device: where everything is wanted.
    """
    targets, marches, surfaces, first = [], [], [], 0
    for image, wanted in zip(images, pixels, strict=True):
        camera = scene.views.cameras[image : image + 1]
        rays = camera.generate_rays(torch.zeros(len(wanted), 1, dtype=torch.long), coords=wanted.flip(1).cpu())
        assert rays.pixel_area is not None
        origins = scene.volume.to_cells(rays.origins).to(device)
        marched = march(thickness, origins, rays.directions.to(device))
        opacity = marched.weights.sum(dim=1)
        met = opacity >= LEAST_OPACITY
        marched = March(marched.positions[met], marched.weights[met])
        middle = (marched.weights[..., None] * marched.positions).sum(dim=1) / opacity[met][:, None]
        distance = (middle - origins[met]).norm(dim=1)
        pixel_size = rays.pixel_area[:, 0].sqrt().to(device)[met] * distance
        surfaces.append(Surface(middle, pixel_size, torch.ones_like(met[met])))
        marches.append(marched)
        count = len(middle)
        targets.append(
            FeatureTarget(
                rays=slice(first, first + count),
                pixels=wanted.to(device)[met],
                image_size=scene.views.image_size(image),
                maps={name: torch.from_numpy(np.array(maps[image])).to(device) for name, maps in scene.maps.items()},
                heat=torch.from_numpy(scene.heat[image]).to(device) if scene.heat else None,
            )
        )
        first += count
    return Look(targets, _joined_marches(marches), _joined_surfaces(surfaces))


def _joined_marches(parts: Sequence[March]) -> March:
    """All rays as one march; shorter ones get empty steps at the end."""
    steps = max(part.weights.shape[1] for part in parts)

    def padded(values: Tensor) -> Tensor:
        missing = steps - values.shape[1]
        return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], dim=1)

    return March(
        torch.cat([padded(part.positions) for part in parts]), torch.cat([padded(part.weights) for part in parts])
    )


def _joined_surfaces(parts: Sequence[Surface]) -> Surface:
    return Surface(
        torch.cat([part.points for part in parts]),
        torch.cat([part.pixel_size for part in parts]),
        torch.cat([part.found for part in parts]),
    )
