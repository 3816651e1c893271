"""Volumes of fields whose geometry is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from torch import Tensor

from condense_nerfstudio.backbone.settings import VolumeConfig
from condense_nerfstudio.backbone.volume import SceneVolume
from condense_nerfstudio.backbone.volume_making import make_volume
from condense_nerfstudio.errors import UserError

from .rooms import CARD, views

HALF = 0.8
"""The room reaches from -HALF to HALF; its walls are 0.1 thick."""


class Room:
    """A model whose field is a box with walls, and a ball behind one of them that no camera sees."""

    def __init__(self, density: float = 200.0) -> None:
        self.density = density

    def field(self, samples: RaySamples) -> dict[FieldHeadNames, Tensor]:
        positions = samples.frustums.get_positions()
        reach = positions.abs().amax(dim=-1, keepdim=True)
        wall = (reach > HALF) & (reach < HALF + 0.1)
        hidden = (positions - positions.new_tensor([1.05, 0.0, 0.0])).norm(dim=-1, keepdim=True) < 0.08
        return {
            FieldHeadNames.DENSITY: self.density * (wall | hidden).float(),
            FieldHeadNames.RGB: (positions + 1) / 2,
        }

    def __call__(self, rays: RayBundle) -> dict[str, Tensor]:
        limits = torch.where(rays.directions > 0, HALF, -HALF)
        depth = ((limits - rays.origins) / rays.directions).amin(dim=1, keepdim=True)
        return {"depth": depth, "accumulation": torch.full_like(depth, min(self.density, 1.0))}


def volume(model: Any, resolution: int = 64) -> SceneVolume:
    return make_volume(model, views(6).cameras, CARD, VolumeConfig(resolution=resolution, rays=8 * resolution**2))


@pytest.mark.parametrize("resolution", [64, 128])
def test_the_cells_of_a_room_are_its_walls(resolution: int) -> None:
    found = volume(Room(), resolution)
    centres = found.origin + (found.cells.float() + 0.5) * found.side
    reach = centres.abs().amax(dim=1)
    assert ((reach - HALF).abs() < 1.5 * found.side).float().mean() > 0.98
    assert (centres[:, 0] < HALF + 0.12).all()  # nothing of what is behind the wall
    assert found.resolution == resolution and found.side * resolution == pytest.approx(2 * HALF * 1.04, rel=0.02)
    # Nearly all that the cameras see is there: their rays end in it.
    from condense_nerfstudio.backbone.marching import march
    from condense_nerfstudio.backbone.volume_making import random_rays

    rays = random_rays(views(6).cameras, 2000, seed=5)
    opacity = march(found.dense_thickness(), found.to_cells(rays.origins), rays.directions).weights.sum(dim=1)
    assert (opacity > 0.5).float().mean() > 0.95


def test_colours_are_those_of_the_field() -> None:
    found = volume(Room())
    centres = found.origin + (found.cells.float() + 0.5) * found.side
    torch.testing.assert_close(found.colors.float() / 255, (centres + 1) / 2, atol=0.6 * found.side + 0.01, rtol=0)


def test_the_same_scene_gives_the_same_volume() -> None:
    first, second = volume(Room()), volume(Room())
    assert torch.equal(first.cells, second.cells) and torch.equal(first.thickness, second.thickness)


def test_densities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="not a number everywhere: its training has diverged"):
        volume(Room(density=float("nan")))


def test_empty_scenes_are_refused() -> None:
    with pytest.raises(UserError, match="No camera of the scene meets a surface"):
        volume(Room(density=0.0))


def test_models_without_a_field_are_named() -> None:
    model = Room()
    with pytest.raises(UserError, match="_Callable has no field"):
        # What is rendered is there, but nothing answers at positions.
        volume(_Callable(model))


class _Callable(SimpleNamespace):
    """Renders like another model."""

    def __init__(self, model: Room) -> None:
        super().__init__(model=model)

    def __call__(self, rays: RayBundle) -> dict[str, Tensor]:
        return self.model(rays)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"resolution": 100}, "choose 64, 128, 256"),
        ({"least_weight": 0.0}, "between 0 and 1"),
        ({"least_weight": 1.5}, "between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_named(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        VolumeConfig(**flags)
