"""Where rays meet the scene's surface, as far as the field knows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.rays import RaySamples
from torch import Tensor

LEAST_ACCUMULATION = 0.5
"""Accumulated weight below which a ray is taken to have met nothing."""


@dataclass
class Surface:
    """The surface points of rays."""

    points: Float[Tensor, "rays 3"]
    """Expected position along each ray, in the scene's frame."""
    pixel_size: Float[Tensor, " rays"]
    """Side of a pixel at that distance, in the scene's units."""
    found: Bool[Tensor, " rays"]
    """Whether the ray met anything."""


@torch.no_grad()
def surface_points(samples: RaySamples, weights: Float[Tensor, "rays samples"]) -> Surface:
    """The weighted mean of a ray's samples, where most of its weight is accumulated.

    Args:
        samples: samples of shape (rays, samples).
        weights: their rendering weights.
    """
    accumulation = weights.sum(dim=1)
    positions = samples.frustums.get_positions()
    points = (weights[..., None] * positions).sum(dim=1) / accumulation.clamp(min=1e-6)[:, None]
    distance = (points - samples.frustums.origins[:, 0]).norm(dim=-1)
    assert samples.frustums.pixel_area is not None
    pixel_size = samples.frustums.pixel_area[:, 0, 0].sqrt() * distance
    return Surface(points, pixel_size, accumulation > LEAST_ACCUMULATION)
