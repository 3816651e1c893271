"""Rays through volumes whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from condense_nerfstudio.backbone.marching import march


def slab(thickness: float = 1.0, resolution: int = 64) -> torch.Tensor:
    """Cells 20 to 29 along x, all of the same thickness."""
    grid = torch.zeros(resolution, resolution, resolution)
    grid[20:30] = thickness
    return grid


@pytest.mark.parametrize("origin", [-10.0, 5.25])
def test_a_slab_is_as_opaque_as_its_thickness_says(origin: float) -> None:
    marched = march(slab(0.1), torch.tensor([[origin, 32.1, 32.1]]), torch.tensor([[1.0, 0.0, 0.0]]))
    assert marched.weights.sum().item() == pytest.approx(1 - math.exp(-10 * 0.1), abs=0.03)


def test_slanted_rays_meet_more_of_it() -> None:
    direction = torch.nn.functional.normalize(torch.tensor([[1.0, 0.5, 0.0]]), dim=1)
    marched = march(slab(0.05), torch.tensor([[1.0, 5.0, 32.0]]), direction)
    expected = 1 - math.exp(-10 * 0.05 / direction[0, 0].item())
    assert marched.weights.sum().item() == pytest.approx(expected, abs=0.03)


def test_the_weight_is_where_the_surface_is() -> None:
    marched = march(slab(8.0), torch.tensor([[2.0, 32.0, 32.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    mean = (marched.weights[..., None] * marched.positions).sum(dim=1) / marched.weights.sum()
    torch.testing.assert_close(mean[0], torch.tensor([20.3, 32.0, 32.0]), atol=0.3, rtol=0)


def test_rays_that_miss_and_no_rays_have_no_weight() -> None:
    away = march(
        slab(), torch.tensor([[-5.0, 90.0, 0.0], [70.0, 32.0, 32.0]]), torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    )
    assert away.weights.sum() == 0
    assert march(slab(), torch.zeros(0, 3), torch.zeros(0, 3)).weights.shape[0] == 0


def test_rays_along_axes_stay_finite() -> None:
    directions = torch.cat([torch.eye(3), -torch.eye(3)])
    marched = march(slab(), torch.full((6, 3), 10.0), directions)
    assert marched.weights.isfinite().all() and marched.positions.isfinite().all()
