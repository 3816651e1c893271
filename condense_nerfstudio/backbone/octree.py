"""Scene volumes as octrees: what the network reads, and where continuous positions find its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.backbone.volume import SceneVolume
from condense_nerfstudio.scene.node_grid import corners_around, existing

if TYPE_CHECKING:
    from ocnn.octree import Octree

INPUT_CHANNELS = 10
"""Of a cell: opacity, colour, normal, position."""
_CHILDREN = 8


@dataclass(frozen=True)
class Turn:
    """One of the eight symmetries of a room: quarter turns about the vertical, and a mirror.

    Backbones see scenes turned every way, since nothing says which wall is north.
    """

    quarters: int = 0
    mirrored: bool = False

    def vectors(self, values: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 3"]:
        """Turns directions."""
        x, y, z = values.unbind(dim=-1)
        if self.mirrored:
            x = -x
        for _ in range(self.quarters % 4):
            x, y = -y, x
        return torch.stack([x, y, z], dim=-1)

    def positions(self, values: Float[Tensor, "*bs 3"], resolution: int) -> Float[Tensor, "*bs 3"]:
        """Turns positions in cells about the middle of the box."""
        return self.vectors(values - resolution / 2) + resolution / 2

    def cells(self, cells: Int[Tensor, "n 3"], resolution: int) -> Int[Tensor, "n 3"]:
        """Turns cells."""
        return self.positions(cells + 0.5, resolution).floor().long()


@dataclass(frozen=True)
class Nodes:
    """The network's input for a scene: a node for every 2x2x2 block of cells in which any is occupied."""

    octree: Octree
    depth: int
    """Of the nodes; 2^depth of them make a side of the box."""
    inputs: Float[Tensor, "nodes channels"]
    """What is known of a node's eight cells, one after another; zeros for empty ones."""
    turn: Turn
    """How the scene was turned."""
    _neighbours: dict[int, Tensor] = field(default_factory=dict)

    def colors(self) -> Float[Tensor, "nodes 3"]:
        """Mean colour of every node's occupied cells, in 0..1."""
        cells = self.inputs.view(len(self.inputs), _CHILDREN, INPUT_CHANNELS)
        occupied = (cells[..., :1] > 0).to(cells.dtype)
        mean = (cells[..., 1:4] * occupied).sum(dim=1) / occupied.sum(dim=1)
        return (mean + 1.0) / 2.0

    def places(self) -> Int[Tensor, "nodes 3"]:
        """Where every node is, in nodes from the lowest corner; turned, if the scene was."""
        return torch.stack(self.octree.xyzb(self.depth, nempty=True)[:3], dim=1).long()

    def neighbours(self, depth: int) -> Int[Tensor, " m"]:
        """The 27 neighbours of every node of a depth, one node after another; the number of nodes where none is."""
        if depth not in self._neighbours:
            found = self.octree.get_neigh(depth, "333", stride=1, nempty=True)
            assert found is not None
            found = found.long()
            self._neighbours[depth] = torch.where(found < 0, len(found), found).flatten()
        return self._neighbours[depth]


def to_nodes(volume: SceneVolume, turn: Turn | None = None, device: torch.device | str = "cpu") -> Nodes:
    """Puts a scene into an octree.

    Args:
        volume: the scene.
        turn: how it is turned before the network sees it; not at all by default.
        device: where the network is.
    """
    # Imported here: ocnn is not needed where no backbone is used.
    from ocnn.octree import Octree, Points

    turn = turn or Turn()
    depth = volume.resolution.bit_length() - 2
    cells = turn.cells(volume.cells.to(device).long(), volume.resolution)
    octree = Octree(depth, full_depth=1, device=device)
    nodes = octree.build_octree(Points((cells // 2 + 0.5).float()), 0.0, float(2**depth))
    octree.construct_all_neigh()
    slots = nodes * _CHILDREN + (cells % 2 * cells.new_tensor([4, 2, 1])).sum(dim=1)
    table = torch.zeros(int(octree.nnum_nempty[depth]) * _CHILDREN, INPUT_CHANNELS, device=device)
    table[slots] = _cell_inputs(volume, turn, cells)
    return Nodes(octree, depth, table.view(-1, _CHILDREN * INPUT_CHANNELS), turn)


def _cell_inputs(volume: SceneVolume, turn: Turn, turned: Int[Tensor, "n 3"]) -> Float[Tensor, "n channels"]:
    """What the network is told of every occupied cell."""
    device = turned.device
    opacity = 1.0 - torch.exp(-volume.thickness.float().to(device))
    colors = volume.colors.float().to(device) / 127.5 - 1.0
    positions = (turned + 0.5) / (volume.resolution / 2) - 1.0
    normals = turn.vectors(normals_of(volume).to(device))
    return torch.cat([opacity[:, None], colors, normals, positions], dim=1)


def normals_of(volume: SceneVolume) -> Float[Tensor, "n 3"]:
    """Unit vectors along which the opacity falls fastest, by central differences of blurred cells; zero where none."""
    opacity = 1.0 - torch.exp(-volume.dense_thickness())
    smooth = functional.avg_pool3d(opacity[None, None], 3, stride=1, padding=1)[0, 0]
    padded = functional.pad(smooth[None, None], (1,) * 6, mode="replicate")[0, 0]
    x, y, z = (volume.cells.long() + 1).unbind(dim=1)
    slope = torch.stack(
        [
            padded[x - 1, y, z] - padded[x + 1, y, z],
            padded[x, y - 1, z] - padded[x, y + 1, z],
            padded[x, y, z - 1] - padded[x, y, z + 1],
        ],
        dim=1,
    )
    length = slope.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-3, slope / length.clamp(min=1e-3), torch.zeros_like(slope))


def corners(nodes: Nodes, positions: Float[Tensor, "n 3"]) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
    """The eight nodes around each position, and how much each counts: trilinear, over those that exist.

    Args:
        nodes: where from.
        positions: in cells of the volume, not turned.

    Returns:
        Places of nodes (0 where there is none), and weights that sum to one, or to zero where no node is near.
    """
    side = 2**nodes.depth
    around, weights = corners_around(nodes.turn.positions(positions / 2, side))
    inside = ((around >= 0) & (around < side)).all(dim=-1)
    query = functional.pad(around, (0, 1)).view(-1, 4)
    found = nodes.octree.search_xyzb(query, nodes.depth, nempty=True).view(-1, 8)
    return existing(torch.where(inside, found, -1), weights)


def interpolate(
    values: Float[Tensor, "nodes c"], indices: Int[Tensor, "n k"], weights: Float[Tensor, "n k"]
) -> Float[Tensor, "n c"]:
    """Weighted sums of nodes' values; see :func:`corners`."""
    return functional.embedding_bag(indices, values, per_sample_weights=weights, mode="sum")
