"""Features on the occupied nodes of a regular grid: what a shared backbone says of a scene, kept with the scene."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

_CORNERS = torch.tensor([[i >> 2, i >> 1 & 1, i & 1] for i in range(8)])


class NodeGrid(nn.Module):
    """A sparse grid that is interpolated between the nodes that exist, and zero where none is near.

    All of it is buffers: it is stored in the checkpoint of the model that holds it, and never trained.

    Args:
        nodes: places, counted from `origin`.
        values: what is known there.
        origin: lowest corner of the grid's cube, in the scene's frame.
        spacing: side of a node's cell, in the scene's frame.
        resolution: nodes a side of the cube.
    """

    nodes: Tensor
    values: Tensor
    origin: Tensor
    spacing: Tensor
    resolution: Tensor
    places: Tensor

    def __init__(
        self,
        nodes: Int[Tensor, "n 3"],
        values: Float[Tensor, "n c"],
        origin: Float[Tensor, " 3"],
        spacing: Float[Tensor, ""],
        resolution: Int[Tensor, ""],
    ) -> None:
        super().__init__()
        self.register_buffer("nodes", nodes.short())
        self.register_buffer("values", values)
        self.register_buffer("origin", origin)
        self.register_buffer("spacing", spacing)
        self.register_buffer("resolution", resolution)
        side = int(resolution)
        # Row of every node, -1 where there is none.
        places = torch.full((side, side, side), -1, dtype=torch.int32, device=nodes.device)
        x, y, z = nodes.long().unbind(dim=1)
        places[x, y, z] = torch.arange(len(nodes), dtype=torch.int32, device=nodes.device)
        self.register_buffer("places", places, persistent=False)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> NodeGrid:
        """The grid whose `state_dict` this is."""
        return cls(**{name: state[name] for name in ("nodes", "values", "origin", "spacing", "resolution")})

    @torch.no_grad()
    def render(
        self, positions: Float[Tensor, "rays kept 3"], weights: Float[Tensor, "rays kept"]
    ) -> Float[Tensor, "rays c"]:
        """Weighted sums of the interpolated values along rays.

        Args:
            positions: samples in the scene's frame.
            weights: their weights.
        """
        side = int(self.resolution)
        around, shares = corners_around((positions.flatten(0, 1) - self.origin) / self.spacing)
        inside = ((around >= 0) & (around < side)).all(dim=-1)
        x, y, z = around.clamp(0, side - 1).unbind(dim=-1)
        found, shares = existing(torch.where(inside, self.places[x, y, z].long(), -1), shares)
        rays, kept = weights.shape
        per_sample = (shares.view(rays, kept, 8) * weights[..., None]).view(rays, -1)
        return functional.embedding_bag(found.view(rays, -1), self.values, per_sample_weights=per_sample, mode="sum")


class FeaturePrior(nn.Module):
    """What a backbone says of a scene's features: a grid of low-dimensional ones, and what decodes them.

    Args:
        grid: channels that all teachers share, the last of them one everywhere: it carries the decoders' constant part.
        decoders: by teacher, from the grid's channels to centred features of the scene.
    """

    def __init__(self, grid: NodeGrid, decoders: Mapping[str, Float[Tensor, "c low"]]) -> None:
        super().__init__()
        self.grid = grid
        self.decoders = nn.ParameterDict({name: nn.Parameter(w, requires_grad=False) for name, w in decoders.items()})

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> FeaturePrior:
        """The prior whose `state_dict` this is."""

        def under(part: str) -> dict[str, Tensor]:
            return {key.removeprefix(part): value for key, value in state.items() if key.startswith(part)}

        return cls(NodeGrid.from_state(under("grid.")), under("decoders."))

    def render(
        self, positions: Float[Tensor, "rays kept 3"], weights: Float[Tensor, "rays kept"]
    ) -> dict[str, Float[Tensor, "rays _"]]:
        """Centred features along rays, by teacher; see :meth:`NodeGrid.render`."""
        low = self.grid.render(positions, weights)
        return {name: low @ decoder.T for name, decoder in self.decoders.items()}


def corners_around(positions: Float[Tensor, "n 3"]) -> tuple[Int[Tensor, "n 8 3"], Float[Tensor, "n 8"]]:
    """The eight nodes between which each position lies, and their trilinear weights.

    Args:
        positions: in nodes; the middle of the first node is at one half.
    """
    shifted = positions - 0.5
    low = shifted.floor()
    fraction = (shifted - low)[:, None]
    offsets = _CORNERS.to(positions.device)
    weights = torch.where(offsets.bool(), fraction, 1.0 - fraction).prod(dim=-1)
    return low.long()[:, None] + offsets, weights


def existing(
    found: Int[Tensor, "n 8"], weights: Float[Tensor, "n 8"]
) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
    """Leaves out the corners that are no nodes.

    Args:
        found: places of nodes, -1 where there is none.
        weights: of the corners.

    Returns:
        Places of nodes (0 where there is none), and weights that sum to one, or to zero where no node is near.
    """
    weights = torch.where(found >= 0, weights, 0.0)
    return found.clamp(min=0), weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
