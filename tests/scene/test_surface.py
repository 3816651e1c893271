"""Surface points of rays whose answer is plain."""

from __future__ import annotations

import torch
from nerfstudio.cameras.rays import Frustums, RaySamples

from condense_nerfstudio.scene.surface import surface_points


def _samples() -> RaySamples:
    """Two rays from (1, 0, 0) along z, samples in the middle of the cells 1..2, 2..3, 3..4."""
    starts = torch.tensor([1.0, 2.0, 3.0]).expand(2, 3)[..., None]
    return RaySamples(
        frustums=Frustums(
            origins=torch.tensor([1.0, 0.0, 0.0]).expand(2, 3, 3),
            directions=torch.tensor([0.0, 0.0, 1.0]).expand(2, 3, 3),
            starts=starts,
            ends=starts + 1.0,
            pixel_area=torch.full((2, 3, 1), 0.01),
        )
    )


def test_surface_is_the_weighted_mean_of_the_samples() -> None:
    surface = surface_points(_samples(), torch.tensor([[0.0, 0.4, 0.4], [0.1, 0.1, 0.1]]))
    torch.testing.assert_close(surface.points[0], torch.tensor([1.0, 0.0, 3.0]))
    torch.testing.assert_close(surface.pixel_size[0], torch.tensor(0.3))
    assert surface.found.tolist() == [True, False]


def test_a_ray_that_meets_nothing_has_finite_values() -> None:
    surface = surface_points(_samples(), torch.zeros(2, 3))
    assert torch.isfinite(surface.points).all() and not surface.found.any()
