"""Ray marching through a scene volume: no network is asked where a ray ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.backbone.volume import flat_cells

STEP = 0.5
"""Length of a step in cells."""


@dataclass(frozen=True)
class March:
    """Samples along rays through a volume."""

    positions: Float[Tensor, "rays samples 3"]
    """In cells."""
    weights: Float[Tensor, "rays samples"]
    """Rendering weights; their sum is the ray's opacity."""


def march(
    thickness: Float[Tensor, "r r r"], origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
) -> March:
    """Rendering weights w_i = T_i (1 - exp(-t_i)) of equal steps through a grid (Mildenhall et al., ECCV 2020, eq. 3).

    The density is constant within a cell. A ray that misses the grid has weights of zero.

    Args:
        thickness: optical thickness of cells, density times the side of a cell.
        origins: in cells; see SceneVolume.to_cells.
        directions: of length one.
    """
    resolution = thickness.shape[0]
    entry, leave = _inside(origins, directions, resolution)
    count = math.ceil(math.sqrt(3.0) * resolution / STEP)
    longest = int(((leave - entry).clamp(min=0).max() / STEP).ceil()) if len(origins) else 0
    steps = (torch.arange(min(count, max(longest, 1)), device=origins.device) + 0.5) * STEP
    distances = entry[:, None] + steps
    positions = origins[:, None] + distances[..., None] * directions[:, None]
    cells = positions.long().clamp_(0, resolution - 1)
    met = thickness.reshape(-1)[flat_cells(cells, resolution)] * STEP
    met = met.masked_fill(distances > leave[:, None], 0.0)
    before = met.cumsum(dim=1) - met
    return March(positions, torch.exp(-before) * (1.0 - torch.exp(-met)))


def _inside(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], resolution: int
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Distances at which rays enter and leave the grid; the first is never behind the origin."""
    slow = torch.where(directions.abs() < 1e-9, 1e-9, directions)
    low, high = -origins / slow, (resolution - origins) / slow
    entry = torch.minimum(low, high).amax(dim=1).clamp(min=0.0)
    return entry, torch.maximum(low, high).amin(dim=1)
