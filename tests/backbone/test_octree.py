"""Octrees against dense grids: what is asked of a sparse one is what a dense one answers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from condense_nerfstudio.backbone.convolution import Convolution
from condense_nerfstudio.backbone.network import SIZES, Backbone
from condense_nerfstudio.backbone.octree import Nodes, Turn, corners, interpolate, normals_of, to_nodes

from .rooms import RESOLUTION, SMALL, room

SIDE = RESOLUTION // 2


def dense(nodes: Nodes, values: torch.Tensor) -> torch.Tensor:
    """Values in a full grid (1, c, x, y, z), zero where there is no node."""
    grid = torch.zeros(SIDE, SIDE, SIDE, values.shape[1])
    x, y, z = nodes.places().T
    grid[x, y, z] = values
    return grid.permute(3, 0, 1, 2)[None]


def sampled(grid: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The dense twin of interpolation: positions in nodes, the first centre at 0.5."""
    coordinates = (positions.flip(1) / SIDE * 2 - 1)[None, None, None]
    found = functional.grid_sample(grid, coordinates, mode="bilinear", padding_mode="zeros", align_corners=False)
    return found[0, :, 0, 0].T


def test_every_occupied_block_is_a_node_and_knows_its_cells() -> None:
    volume = room()
    nodes = to_nodes(volume)
    blocks = torch.unique(volume.cells.long() // 2, dim=0)
    assert torch.equal(torch.unique(nodes.places(), dim=0), blocks)
    inputs = nodes.inputs.view(len(blocks), 8, 10)
    assert int((inputs[..., 0] > 0).sum()) == len(volume.cells)
    # A cell's position says where in the box it lies.
    cell = torch.tensor([[i >> 2, i >> 1 & 1, i & 1] for i in range(8)]) + 2 * nodes.places()[:, None]
    occupied = inputs[..., 0] > 0
    torch.testing.assert_close(inputs[..., 7:][occupied], ((cell + 0.5) / (RESOLUTION / 2) - 1)[occupied])


@pytest.mark.parametrize("turn", [Turn(), Turn(1), Turn(2, True), Turn(3)])
def test_interpolation_is_that_of_a_dense_grid_values_and_gradients(turn: Turn) -> None:
    nodes = to_nodes(room(), turn)
    torch.manual_seed(0)
    values = torch.randn(len(nodes.inputs), 5, requires_grad=True)
    positions = torch.rand(500, 3) * RESOLUTION
    indices, weights = corners(nodes, positions)
    found = interpolate(values, indices, weights)
    turned = turn.positions(positions / 2, SIDE)
    reached = sampled(dense(nodes, torch.ones(len(nodes.inputs), 1)), turned)
    expected = sampled(dense(nodes, values), turned) / reached.clamp(min=1e-6)
    near = reached[:, 0] > 1e-3
    assert near.any() and (~near).any()
    torch.testing.assert_close(found[near], expected[near], atol=1e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad(found[near].square().sum(), values, retain_graph=True)
    (twin,) = torch.autograd.grad(expected[near].square().sum(), values)
    torch.testing.assert_close(gradient, twin, atol=1e-3, rtol=1e-3)


def test_a_convolution_is_that_of_a_dense_grid_and_of_ocnn_values_and_gradients() -> None:
    from ocnn.nn import OctreeConv

    nodes = to_nodes(room())
    torch.manual_seed(0)
    layer, theirs = Convolution(4, 3), OctreeConv(4, 3, [3], nempty=True)
    theirs.weights = layer.weights
    values = torch.randn(len(nodes.inputs), 4, requires_grad=True)
    kernel = layer.weights.view(3, 3, 3, 4, 3).permute(4, 3, 0, 1, 2)
    x, y, z = nodes.places().T
    found = layer(values, nodes.neighbours(nodes.depth))
    for expected in (
        functional.conv3d(dense(nodes, values), kernel, padding=1)[0][:, x, y, z].T,
        theirs(values, nodes.octree, nodes.depth),
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        for gradient, twin in zip(
            torch.autograd.grad(found.square().sum(), (values, layer.weights), retain_graph=True),
            torch.autograd.grad(expected.square().sum(), (values, layer.weights)),
            strict=True,
        ):
            torch.testing.assert_close(gradient, twin, atol=1e-2, rtol=1e-3)


def test_turning_four_times_is_not_turning() -> None:
    cells = room().cells.long()
    for turn in (Turn(4), Turn(0)):
        assert torch.equal(turn.cells(cells, RESOLUTION), cells)
    once = Turn(1).cells(cells, RESOLUTION)
    assert not torch.equal(once, cells) and torch.equal(Turn(3).cells(once, RESOLUTION), cells)
    mirrored = Turn(0, True).cells(cells, RESOLUTION)
    assert torch.equal(Turn(0, True).cells(mirrored, RESOLUTION), cells)


def test_normals_lie_across_walls() -> None:
    volume = room()
    cells, normals = volume.cells.long(), normals_of(volume)
    floor = (cells[:, 2] == 2) & ((cells[:, :2] > 20) & (cells[:, :2] < 26)).all(dim=1)
    assert floor.any() and (normals[floor, 2].abs() < 1e-3).all()  # a wall one cell thick has no side that is its front
    lengths = normals.norm(dim=1)
    assert ((lengths - 1).abs() < 1e-4).any() and bool(((lengths - 1).abs() < 1e-4).logical_or(lengths == 0).all())


def test_a_scene_does_not_change_with_the_order_of_its_cells() -> None:
    from dataclasses import replace

    volume = room()
    order = torch.randperm(len(volume.cells), generator=torch.Generator().manual_seed(0))
    shuffled = replace(
        volume, cells=volume.cells[order], thickness=volume.thickness[order], colors=volume.colors[order]
    )
    torch.manual_seed(0)
    network = Backbone(SMALL)
    torch.testing.assert_close(network(to_nodes(volume)), network(to_nodes(shuffled)))


def test_the_sizes_are_what_they_say() -> None:
    count = {name: sum(p.numel() for p in Backbone(config).parameters()) for name, config in SIZES.items()}
    assert 1e6 < count["lite"] < 2.2e6 and 11e6 < count["base"] < 15e6
